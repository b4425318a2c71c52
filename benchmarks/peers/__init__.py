"""Other ways to load the same records, each as its own documentation recommends.

A peer is a module of this package:

    TITLE     what a table calls it
    REQUIRES  the modules it needs beside this library's own; without them it is skipped, and said to be
    RESUME    "state": its own documented state; "skip": batches (or their indices) are skipped, as a user would
    NOTES     what a reader of its numbers should know, in a line; may be empty

    write(store, directory)
        Convert a `TokenStore` to the peer's own files in `directory`, which does not exist yet; tokens have the
        smallest dtype that the format allows.
    loader(directory, *, batch_size, pad_token_id, num_workers, seed, start=0)
        An iterable over the rest of one epoch: dicts with `input_ids`, `labels` and `attention_mask`, int64[B, T],
        labels aligned and -100 on padding. Peers that flatten or pack give `position_ids` (from 0 in each
        document) instead of the mask, and `document_ids` (-1 on padding) where they pad.
    checkpoint(directory, *, batches, batch_size, pad_token_id, num_workers, seed)
        Only with RESUME = "state": what a run that was given `batches` batches would have saved.

`start` is 0, or where to go on: that checkpoint, or for RESUME = "skip" the number of batches.

Installing: `pip install -c tools/constraints.txt -e '.[test,peers]'`. MosaicML's Streaming asks for NumPy < 2.2
and transformers < 5, so that no installer finds a current version of it beside the others; it runs with them:

    pip install -c tools/constraints.txt --no-deps mosaicml-streaming brotli catalogue cramjam python-snappy zstd

Its import needs torchvision, whose compiled operators PyPI has for CUDA only. Beside a torch for the CPU, the last
version that imports without them does: `pip install --no-deps torchvision==0.15.2`.
"""

from importlib import import_module
from itertools import islice

NAMES = (
    "plain",
    "pad_sequence",
    "memmap_vectorised",
    "stateful_dataloader",
    "megatron",
    "hf_datasets",
    "hf_grouped",
    "hf_flattening",
    "trl_collator",
    "trl_packed",
    "streaming",
    "litdata",
    "grain",
    "webdataset",
    "spdl",
    "fastcollate",
    "fastcollate_packed",
)


def load_peer(name):
    """The module of a peer; raises `ImportError` where what it needs is not installed."""
    return import_module(f"benchmarks.peers.{name}")


def start_after(peer, directory, batches, **arguments):
    """What `peer.loader` takes as `start` to go on after `batches` batches."""
    if peer.RESUME == "state":
        return peer.checkpoint(directory, batches=batches, **arguments)
    return batches


def earn_state(run, batches):
    """What `run` saves once it has given `batches` batches."""
    for _ in islice(run, batches):
        pass
    return run.state_dict()
