"""The drop-in: next-token pairs from lists of tokens, in one function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fastcollate.collate.padding import PaddingCollator
from fastcollate.errors import CollateError

__all__ = ["padded_collate"]


def padded_collate(
    batch: Sequence[Any],
    pad_token_id: int = 50256,
    ignore_index: int | None = -100,
    allowed_max_length: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """`padded_collate` makes next-token `(inputs, targets)`, int64[B, T], as a `collate_fn` for any `DataLoader`.

    One end token (`pad_token_id`) is appended to every row. Targets are the inputs shifted by one: they keep the
    first end token and hold `ignore_index` where there is padding. Both are cut to `allowed_max_length`.

    Args:
        batch: The rows, as lists, arrays or tensors, which are left as they are.
        pad_token_id: The token id of the end token and of padding; 50256 by default, GPT-2's.
        ignore_index: The value of targets that the loss skips, -100 by default; None leaves the pad id there.
        allowed_max_length: The most columns; by default rows are never cut.
        device: The device that the tensors are moved to, the CPU by default; a worker process can only make CPU
            tensors.

    Raises:
        CollateError: Rows that make no batch, or a CUDA device inside a worker process.

    >>> inputs, targets = padded_collate([[0, 1, 2], [5]])
    >>> targets
    tensor([[    1,     2, 50256],
            [50256,  -100,  -100]])
    """
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError):
        raise CollateError(f"device {device!r} is unknown to torch: name one such as 'cpu' or 'cuda:0'") from None
    if target.type == "cuda" and torch.utils.data.get_worker_info() is not None:
        raise CollateError(
            f"device={str(target)!r} inside a DataLoader worker: a forked process cannot use CUDA; collate on the "
            "CPU and move the batch in the training loop, or set num_workers=0"
        )
    collator = PaddingCollator(
        pad_token_id,
        ignore_index=ignore_index,
        end_token_id=pad_token_id,
        max_length=allowed_max_length,
        shift_labels=True,
        as_tuple=True,
    )
    built: Any = collator(batch)
    inputs, targets = built
    return inputs.to(target), targets.to(target)
