"""What a pass will read, announced before it is looked up, where memory does not hold it."""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import numpy as np

from fastcollate.corpus.ahead import ReadAhead, is_slow
from fastcollate.corpus.corpus import Corpus, Records, knows_places, token_bytes
from fastcollate.corpus.mixture import Mixture
from fastcollate.corpus.paged_in import PagedIn
from fastcollate.device.prefetch import Prefetcher
from fastcollate.plan.order import WindowedPlan
from fastcollate.plan.shares import Share
from fastcollate.plan.sorting import BLOCK_BYTES
from fastcollate.storage.memory_room import memory_room
from fastcollate.storage.read_counts import ReadCounts

__all__ = ["is_beyond_memory", "read_in_time", "share_sizes", "tell_how_it_is_read"]

log = logging.getLogger("fastcollate")

_SMALL = 256 << 20  # bytes of tokens that any machine has memory for
_HELD = 0.8  # the part of the memory that is there which files fill before the system drops some of their pages
_MOST, _LEAST = 256 << 20, 16 << 20  # bytes that are read ahead
_PORTIONS = 4  # of these bytes: one is in use, one is ready, and two are read
_MOST_AT_ONCE, _MOST_GATHERED = 4096, 16  # batches whose records are looked up, or gathered, at once
_PLANNED = 64  # portions that are announced and not yet found, at most
_ALONE = 1 << 30  # what each costs, so that it is handed over alone
_RANDOM_READS = 20_000  # a second, of a disk of a cloud machine in the middle


def is_beyond_memory(corpus: Corpus) -> bool:
    """Return whether a corpus has more tokens than this machine's memory, or this process's limit, holds."""
    size = token_bytes(corpus)
    if size < _SMALL:
        return False
    room = memory_room()
    return room is not None and size > room * _HELD


def tell_how_it_is_read(corpus: Corpus, plan: WindowedPlan[Any]) -> None:
    """Say once that a corpus is read ahead; and warn of orders in which nobody would want it."""
    if isinstance(corpus, Mixture) and not plan.shuffle:
        warnings.warn(
            "shuffle=False delivers the sources of a mixture one after another: shuffle to mix their records",
            stacklevel=4,
        )
    if not is_beyond_memory(corpus):
        return
    size, records = token_bytes(corpus), max(1, len(corpus))
    log.info(
        "the corpus has %.1f GB of tokens, more than memory holds: they are read ahead, in blocks of %d record(s)",
        size / 1e9,
        plan.shuffle_block,
    )
    if plan.shuffle and plan.shuffle_block == 1 and size // records < BLOCK_BYTES:
        lengths, counts = corpus.length_histogram()
        mean = float(lengths @ counts) / max(1, int(counts.sum()))
        warnings.warn(
            f"every record is shuffled alone, and memory does not hold the {size / 1e9:.1f} GB of their tokens: "
            f"expect about {mean * _RANDOM_READS / 1e6:.1f} M tokens a second, as many random reads as a disk "
            f"gives; shuffle_block={1 << (BLOCK_BYTES * records // size).bit_length() - 1} reads larger blocks",
            stacklevel=4,
        )


def share_sizes(corpus: Corpus, records: Records, plan: WindowedPlan[Any]) -> dict[str, int]:
    """Return what `rank_shares` is to know of a corpus: how many batches a share has at most, and its growth.

    Records that are shuffled in blocks are wanted, for any batch, from all over the blocks of a window: whoever
    asks for all that a window has, reads large pieces.
    """
    most = _MOST_AT_ONCE if knows_places(records) else _MOST_GATHERED
    in_blocks = not plan.shuffle or plan.shuffle_block > 1
    at_once = in_blocks and (is_slow(records) or is_beyond_memory(corpus))
    return {"most": most, "growth": most} if at_once else {"most": most}


def read_in_time(
    corpus: Corpus, records: Records, shares: Iterator[Share], columns: Collection[str], counts: ReadCounts | None
) -> tuple[Records, Iterator[Share]]:
    """Return the records of a pass and its shares: as they are where memory holds them, else read ahead.

    Args:
        corpus: What is read.
        records: Its records of the epoch.
        shares: What the pass takes of them.
        columns: What is read beside the tokens.
        counts: What reading is added to.
    """
    ahead = _reading_ahead(corpus, records, counts)
    if ahead is None:
        return records, shares
    lengths, sizes = corpus.length_histogram()
    each = token_bytes(corpus) / max(1, int(lengths @ sizes))
    return ahead, _announced(shares, ahead, columns, each)


def _reading_ahead(corpus: Corpus, records: Records, counts: ReadCounts | None) -> ReadAhead | None:
    """What reads the records of a pass ahead; None where memory holds them, and nothing is to be read."""
    if is_slow(records):
        slow: Any = records
    elif is_beyond_memory(corpus):
        slow = PagedIn(records)
    else:
        return None
    room = memory_room()
    most = _MOST if room is None else max(_LEAST, min(_MOST, room // 4))
    return ReadAhead(slow, most_bytes=most, counts=counts)


def _announced(
    shares: Iterator[Share], ahead: ReadAhead, columns: Collection[str], size: float
) -> Iterator[Share]:
    """Yield the shares of a pass, in parts that are not too large: a thread plans and announces those that follow.

    Args:
        shares: The shares.
        ahead: What reads their records.
        columns: What is read beside the tokens.
        size: The bytes of a token.
    """
    parts = _parts(shares, ahead, size, ahead.most_bytes // _PORTIONS)
    announcing = Prefetcher(_announce(parts, ahead, columns), depth=_PLANNED, size=lambda _: _ALONE)
    close = weakref.finalize(announcing, ahead.close)  # at exit, too, before the thread is waited for
    try:
        yield from chain(announcing)  # which hides its `close`: that waits for the thread
        close.detach()
        ahead.end()
    finally:
        close()
        announcing.close()


def _announce(parts: Iterator[tuple[Share, int]], ahead: ReadAhead, columns: Collection[str]) -> Iterator[Share]:
    """Yield parts once they are announced, each when there is room for it."""
    for share, count in parts:
        if not ahead.wait_for_room():
            return
        ahead.announce(share.real_ids, columns, size=count)
        yield share


def _parts(shares: Iterator[Share], ahead: ReadAhead, size: float, most: int) -> Iterator[tuple[Share, int]]:
    """Shares in parts of so many bytes at most, or of one batch, and the bytes of each."""
    for share in shares:
        lengths = np.zeros(len(share.record_ids), np.int64)
        real = share.record_ids >= 0
        lengths[real] = ahead.lengths_at(share.record_ids[real])
        before = np.append(0, np.cumsum(lengths * size))[share.edges]
        first, count = 0, len(share.edges) - 1
        while first < count:
            last = max(first + 1, int(np.searchsorted(before, before[first] + most, "right")) - 1)
            part = share if last - first == count else share.part(first, last)
            yield part, int(before[last] - before[first])
            first = last
