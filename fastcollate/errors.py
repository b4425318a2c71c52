"""Every error a user can meet, as one tree.

A message says what is wrong with the value and where it is, the rule, and the fix.
"""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, for messages.

    >>> plural(1, "shard"), plural(1100, "record")
    ('1 shard', '1,100 records')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class FastCollateError(Exception):
    """`FastCollateError` is the root of the tree: an `except` for it catches every error of fastcollate."""


class InputError(FastCollateError):
    r"""An `InputError` says that a source, a record of it, or an argument is wrong.

    `prepare(on_error="skip")` leaves bad records out, and counts them in the manifest by `reason`. A reason is
    one of these words, which stay the same from version to version:

        invalid           an argument is wrong, or anything else that no other word says
        bad_source        the source is neither a path, nor a URL, nor an iterable of records
        not_found         no file has that path, or matches that pattern, or the folder has no file of records
        unreadable        the system does not let us read the file
        changed           the file was changed while it was read
        no_download       the URL cannot be read to its end, or the cache cannot be written
        not_data          the file is of a kind that is not read, such as a zip archive or a Git LFS pointer
        damaged           the file is cut short, encrypted, or not what its first bytes say
        not_utf8          a line or a file is not UTF-8
        not_text          a string holds half of a character, by an escape such as `\ud83d`, or a message has an
                          image, a sound or a file among its parts
        not_json          a line or a file is not JSON, or is JSON but no file of records
        duplicate_key     an object has one key twice, or a table two columns of one name
        ragged            a row of a table has another number of fields than the header
        bad_quote         a quote in CSV or TSV is not closed, or followed by text
        too_large         a record or a file exceeds a limit; without skipping, that is a `LimitError`
        not_object        a row of the source is no JSON object, or no dict
        no_records        a file has rows, or none, but no record in them
        unknown_template  no built-in template has that name
        unknown_field     `fields=` names a field that the template does not have, or a key that is no string
        missing_field     a record lacks a field that the template needs, or has null there
        not_string        a field of a record is not a string
        unknown_shape     a record's keys fit no template, or several
        bad_message       a message of a conversation is no object, or holds what its role cannot
        no_turns          a conversation has no messages
        unknown_role      a message has a role that nobody knows, or that the template does not write
        bad_weight        a message's weight is no number, or it has several that differ
        bad_tool_call     a call or the list of tools is not JSON, or not what calls and tools are
        bad_template      a chat template fails on a record, or leaves a part of it out
        bad_tokens        a row of tokens has labels or masks that do not belong to its tokens
        unsupervised      no token of a record is a target, or `max_length` cuts all of them away
        not_encodable     the tokenizer cannot encode a record
        not_kept          a record's value for a column that is kept is of another kind than the first one
        overlong          a record has more tokens than `max_length`
        empty             a record has no tokens, or an empty answer, or the source has no record that can be used

    Attributes:
        path: The file or URL that the error is about; None for records in memory and for arguments.
        row: Where in the source the bad record is, numbered as the message says: lines from 1, records from 0.
            None where the error is about no single record.
        reason: The word for what is wrong, from the table above.

    >>> import tempfile
    >>> from fastcollate import prepare
    >>> try:
    ...     prepare([{"text": "a"}, 7], tempfile.mkdtemp() + "/store", encoding="bytes", template="text")
    ... except InputError as error:
    ...     error.path, error.row, error.reason
    (None, 1, 'not_object')
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
    """An `EncodingError` says that an encoding is unknown, cannot be reached, or does not hold a token or a text.

    Attributes:
        document: The number of the text or document that the error is about, among those that were encoded
            together; None where it is about none.
        path: The file or URL of the record that cannot be encoded; None where the error is about no file.
        row: Where in the source that record is, as `InputError.row`.
    """

    def __init__(
        self, message: str, *, document: int | None = None, path: str | None = None, row: int | None = None
    ) -> None:
        super().__init__(message)
        self.document = document
        self.path = path
        self.row = row

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_encoding_error, (str(self), self.document, self.path, self.row)


def _rebuild_encoding_error(
    message: str, document: int | None, path: str | None, row: int | None
) -> EncodingError:
    return EncodingError(message, document=document, path=path, row=row)


class StoreError(FastCollateError):
    """A `StoreError` says that something is wrong with a store on disk; most are one of its subclasses."""


class StoreCorruptError(StoreError):
    """A `StoreCorruptError` says that a file of the store is missing, truncated, swapped or changed."""


class StoreIncompleteError(StoreError):
    """A `StoreIncompleteError` says that a directory has shards but no manifest: its writer never committed it."""


class StoreChangedError(StoreError):
    """A `StoreChangedError` says that the store on disk is no longer the one that was opened."""


class StoreVersionError(StoreError):
    """A `StoreVersionError` says that the store has a format that this version does not read."""


class UnsafeStoreError(StoreError):
    """An `UnsafeStoreError` says that a manifest names other files than the shards of its directory."""


class StoreWriteError(StoreError):
    """A `StoreWriteError` says that a store cannot be written there, or that a record cannot be stored."""


class PlanError(FastCollateError):
    """A `PlanError` says that the arguments of a dataset make no plan for its corpus."""


class CollateError(FastCollateError):
    """A `CollateError` says that rows cannot be made into a batch."""


class StateError(FastCollateError):
    """A `StateError` says that a state_dict cannot be taken, read or applied here."""


class StateMismatchError(StateError):
    """A `StateMismatchError` says that a state or a rank has other data or arguments, and names the field."""


class LimitError(FastCollateError):
    """A `LimitError` says that a value exceeds a limit of the format or of this machine."""


class StorageError(FastCollateError):
    """A `StorageError` says that the disk failed while a store was read or written."""


class WorkerError(FastCollateError):
    """A `WorkerError` says that a worker process died, is stuck, or cannot be started or given its work."""
