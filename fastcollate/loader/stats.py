from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LoaderStats"]


@dataclass(slots=True)
class LoaderStats:
    """What a loader has delivered so far, and where time went.

    What the background thread does overlaps with the consumer's own work.

    Attributes:
        batches, tokens, cells: real tokens, and the places they were padded to.
        seconds_waited: in which the consumer waited for its next batch.
        seconds_gather, seconds_collate, seconds_transfer: on the host, preparing batches and issuing copies.
        bytes_copied, copies: what went over the bus to a device, and in how many copies.
        seconds_on_bus: what the copies that are over took on the device's clock; 0 where it has none.
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

    @property
    def bytes_per_token(self) -> float:
        """Bytes that went over the bus for each real token; NaN before the first."""
        return self.bytes_copied / self.tokens if self.tokens else float("nan")

    @property
    def padding_fraction(self) -> float:
        """The part of all cells delivered that held no token; NaN where batches do not say (tuples)."""
        return 1.0 - self.tokens / self.cells if self.cells else float("nan")
