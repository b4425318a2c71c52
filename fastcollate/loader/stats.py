from __future__ import annotations

from dataclasses import dataclass, field

from fastcollate.storage.read_counts import ReadCounts

__all__ = ["LoaderStats"]


@dataclass(slots=True)
class LoaderStats:
    """`LoaderStats` count what a `StreamLoader` has delivered so far, and where the time went.

    All numbers grow for as long as the loader lives, over all its passes. For a CUDA device a background thread
    gathers, collates and copies, so that those seconds overlap with the work of the training loop; only
    `seconds_waited` is time that the loop lost.

    Attributes:
        batches: The batches that were delivered.
        tokens: The tokens of the delivered batches, padding not counted; 0 where batches are no `Batch` but
            tuples.
        cells: The elements of the delivered `input_ids`, padding counted; 0 where batches are no `Batch` but
            tuples.
        seconds_waited: The seconds that whoever iterates waited for batches.
        seconds_gather: The seconds that this process spent on finding rows, or on waiting for workers that read
            them; 0 where workers collate, too. Rows are copied while they are collated, but for a collator that is
            merely called.
        seconds_collate: The seconds that this process spent on collating; 0 where workers collate.
        seconds_transfer: The seconds that this process spent on starting copies to the device.
        bytes_copied: The bytes that went over the bus to the device; 0 for the CPU.
        copies: The number of copies in which the bytes went over the bus.
        seconds_on_bus: The seconds that finished copies took, on the device's clock; 0 where the device has none.
        reads: What was read ahead from disks and object stores, here or by workers, and how long it was waited
            for, by each worker in the mean: nothing where memory holds the corpus.
        shuffle_block: How many consecutive records stay together in the shuffle.

    >>> stats = LoaderStats(batches=2, tokens=30, cells=40, bytes_copied=60)
    >>> stats.padding_fraction, stats.bytes_per_token
    (0.25, 2.0)
    """

    batches: int = 0
    tokens: int = 0
    cells: int = 0
    seconds_waited: float = 0.0
    seconds_gather: float = 0.0
    seconds_collate: float = 0.0
    seconds_transfer: float = 0.0
    bytes_copied: int = 0
    copies: int = 0
    seconds_on_bus: float = 0.0
    reads: ReadCounts = field(default_factory=ReadCounts)
    shuffle_block: int = 1

    @property
    def bytes_read_per_byte_used(self) -> float:
        """The bytes that disks and object stores gave for each byte of a row; NaN where nothing was read ahead."""
        return self.reads.bytes_read / self.reads.bytes_used if self.reads.bytes_used else float("nan")

    @property
    def bytes_per_token(self) -> float:
        """The bytes that went over the bus for each token, padding not counted; NaN before the first token."""
        return self.bytes_copied / self.tokens if self.tokens else float("nan")

    @property
    def padding_fraction(self) -> float:
        """The part of all delivered cells that held no token, from 0 to 1; NaN where batches are tuples."""
        return 1.0 - self.tokens / self.cells if self.cells else float("nan")
