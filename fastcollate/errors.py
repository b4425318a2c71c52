"""Every error a user can meet, as one tree.

A message says what is wrong with the value and where it is, the rule, and the fix.
"""


class FastCollateError(Exception):
    """The root: catch this to catch everything fastcollate raises for bad data."""


class InputError(FastCollateError):
    """A source or an argument is wrong.

    `path` and `row` (0-based record or 1-based line, as `message` says) tell where; `reason` is a
    short stable word under which `prepare(on_error="skip")` counts rejected records.
    """

    def __init__(
        self, message: str, *, path: str | None = None, row: int | None = None, reason: str = "invalid"
    ) -> None:
        super().__init__(message)
        self.path = path
        self.row = row
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_input_error, (str(self), self.path, self.row, self.reason)


def _rebuild_input_error(message: str, path: str | None, row: int | None, reason: str) -> InputError:
    """Let the error cross a process boundary with its address (exceptions pickle by position)."""
    return InputError(message, path=path, row=row, reason=reason)


class EncodingError(FastCollateError):
    """An encoding is unknown, out of reach, or does not hold a token."""


class StoreError(FastCollateError):
    """Something is wrong with a store on disk."""


class StoreCorruptError(StoreError):
    """A file of the store is missing, truncated, swapped or changed."""


class StoreIncompleteError(StoreError):
    """A directory holds shards but no manifest: its writer was stopped before it committed."""


class StoreChangedError(StoreError):
    """The store on disk is no longer the one that was opened."""


class StoreVersionError(StoreError):
    """The store was written in a format this version does not read."""


class UnsafeStoreError(StoreError):
    """A manifest names a file outside its directory, or data that only code could decode."""


class StoreWriteError(StoreError):
    """A store cannot be written there, or a record cannot be stored."""


class PlanError(FastCollateError):
    """No plan satisfies the arguments for this store."""


class CollateError(FastCollateError):
    """Rows cannot be made into a batch."""


class StateError(FastCollateError):
    """A state_dict cannot be read or applied."""


class StateMismatchError(StateError):
    """A state_dict was taken over other data, arguments or seed."""


class LimitError(FastCollateError):
    """A value exceeds a limit of the format or of this machine."""


class StorageError(FastCollateError):
    """The disk or the network failed."""


class WorkerError(FastCollateError):
    """A worker process or thread died."""
