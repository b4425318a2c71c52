"""Whether a model keeps the documents of a packed batch apart: asked on one batch, before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch

from fastcollate.errors import CollateError

__all__ = ["check_isolation"]

_BEGINS = ("cu_seqlens", "cu_seq_lens_q", "cu_seq_lens_k")
_LONGEST = ("max_seqlen", "max_length_q", "max_length_k")
_FULL = (torch.float32, torch.float64)


def check_isolation(
    model: Callable[..., Any], batch: Mapping[str, Any], *, tolerance: float | None = None
) -> float:
    """Return how far a model's logits of packed documents are from those that each document has alone.

    The model is called as `model(**batch)` without labels, then with each document by itself, in evaluation mode
    and without gradients. The documents are those of `document_ids`, or begin where `position_ids` do.

    Args:
        model: The model, on the device of the batch. It returns logits, a tuple that begins with logits, or an
            object or dict that has `logits`: float[B, T, ...].
        batch: A batch of a `PackingCollator`.
        tolerance: The largest difference that counts as none, as a part of the largest logit; by default 0.001,
            and 0.05 for logits of half precision.

    Raises:
        CollateError: A document's logits differ by more; it is named. Or the batch does not say where documents
            begin.

    >>> from fastcollate import PackingCollator
    >>> table = torch.arange(12.0).reshape(6, 2)
    >>> rows = [{"input_ids": [5, 1, 4, 2], "seq_lengths": [2, 2]}]
    >>> check_isolation(lambda input_ids, **_: table[input_ids], PackingCollator(0)(rows))
    0.0
    """
    given = {name: value for name, value in batch.items() if name not in {"labels", "shift_labels"}}
    module = model if isinstance(model, torch.nn.Module) else torch.nn.Module()
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            return _worst(model, given, tolerance)
    finally:
        module.train(training)


def _worst(model: Callable[..., Any], given: Mapping[str, Any], tolerance: float | None) -> float:
    together, worst = _logits(model(**given)), 0.0
    if tolerance is None:
        tolerance = 1e-3 if together.dtype in _FULL else 0.05
    allowed = tolerance * float(together.abs().max())
    for row, number, start, stop in _documents(given):
        alone = _logits(model(**_alone(given, row, start, stop)))[0]
        difference = float((together[row, start:stop] - alone).abs().max())
        worst = max(worst, difference)
        if not difference <= allowed:
            raise CollateError(
                f"document {number} of row {row} has logits that differ by {difference:.3g} from those that it "
                "has alone: the model lets the documents of a row see each other; for a model of transformers "
                'make the batch with PackingCollator(..., keys="transformers"), give another model a mask made of '
                "document_ids, or do not pack"
            )
    return worst


def _documents(given: Mapping[str, Any]) -> Iterator[tuple[int, int, int, int]]:
    """Each document: its row, its number there, where it begins and where it ends."""
    lines, goes_on = given.get("document_ids"), 0
    if lines is None:
        lines, goes_on = given.get("position_ids"), 1  # within a document the number stays, a position rises
    if lines is None:
        raise CollateError(
            "the batch has neither document_ids nor position_ids: give check_isolation a batch of a "
            "PackingCollator"
        )
    for row, line in enumerate(lines.tolist()):
        edges = [0, *(i for i in range(1, len(line)) if line[i] - line[i - 1] != goes_on), len(line)]
        real = [(start, stop) for start, stop in pairwise(edges) if line[start] >= 0]
        yield from ((row, number, *place) for number, place in enumerate(real))


def _alone(given: Mapping[str, Any], row: int, start: int, stop: int) -> dict[str, Any]:
    """The arguments for one document by itself."""
    shape = given["input_ids"].shape
    edges: dict[str, Any] = {}
    for name, value in given.items():
        if name in _BEGINS:
            edges[name] = value.new_tensor([0, stop - start])
        elif name in _LONGEST:
            edges[name] = stop - start
        elif isinstance(value, torch.Tensor) and value.shape == shape:
            edges[name] = value[row : row + 1, start:stop]
        else:
            edges[name] = value
    return edges


def _logits(output: Any) -> torch.Tensor:
    if isinstance(output, Mapping):
        output = output["logits"]
    output = getattr(output, "logits", output)
    found: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return found
