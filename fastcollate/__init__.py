"""Pretokenise once, stream padded batches: a fast, exact data loader for language models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from fastcollate.collate.batch import Batch as Batch
    from fastcollate.collate.next_tokens import padded_collate as padded_collate
    from fastcollate.collate.packing import PackingCollator as PackingCollator
    from fastcollate.collate.padding import PaddingCollator as PaddingCollator
    from fastcollate.collate.preferences import PreferenceCollator as PreferenceCollator
    from fastcollate.corpus.exports.exporting import export as export
    from fastcollate.corpus.mixture import mix as mix
    from fastcollate.corpus.recognised import open_corpus as open_corpus
    from fastcollate.dataset.bucketed import BucketedDataset as BucketedDataset
    from fastcollate.dataset.packed import PackedDataset as PackedDataset
    from fastcollate.dataset.processes.meshes import from_mesh as from_mesh
    from fastcollate.device.copier import prefetch_to_device as prefetch_to_device
    from fastcollate.errors import CollateError as CollateError
    from fastcollate.errors import EncodingError as EncodingError
    from fastcollate.errors import FastCollateError as FastCollateError
    from fastcollate.errors import InputError as InputError
    from fastcollate.errors import LimitError as LimitError
    from fastcollate.errors import PlanError as PlanError
    from fastcollate.errors import StateError as StateError
    from fastcollate.errors import StateMismatchError as StateMismatchError
    from fastcollate.errors import StorageError as StorageError
    from fastcollate.errors import StoreChangedError as StoreChangedError
    from fastcollate.errors import StoreCorruptError as StoreCorruptError
    from fastcollate.errors import StoreError as StoreError
    from fastcollate.errors import StoreIncompleteError as StoreIncompleteError
    from fastcollate.errors import StoreVersionError as StoreVersionError
    from fastcollate.errors import StoreWriteError as StoreWriteError
    from fastcollate.errors import UnsafeStoreError as UnsafeStoreError
    from fastcollate.errors import WorkerError as WorkerError
    from fastcollate.loader.stream import StreamLoader as StreamLoader
    from fastcollate.pretokenize.joining import merge as merge
    from fastcollate.pretokenize.run import prepare as prepare
    from fastcollate.ragged.ragged import Ragged as Ragged
    from fastcollate.ragged.ragged_batch import RaggedBatch as RaggedBatch
    from fastcollate.reports.audits.auditing import audit as audit
    from fastcollate.store.reader import TokenStore as TokenStore
    from fastcollate.store.writer import StoreWriter as StoreWriter
    from fastcollate.templates.fields import PromptTemplate as PromptTemplate
    from fastcollate.templates.jinja.chat_template import ChatTemplate as ChatTemplate
    from fastcollate.tokenizers.load import load_encoding as load_encoding

# Each name is imported when it is first used: whoever prepares data does not pay for torch.
_HOMES = {
    "collate.batch": ("Batch",),
    "collate.packing": ("PackingCollator",),
    "collate.next_tokens": ("padded_collate",),
    "collate.padding": ("PaddingCollator",),
    "collate.preferences": ("PreferenceCollator",),
    "dataset.bucketed": ("BucketedDataset",),
    "dataset.processes.meshes": ("from_mesh",),
    "dataset.packed": ("PackedDataset",),
    "device.copier": ("prefetch_to_device",),
    "errors": (
        "CollateError",
        "EncodingError",
        "FastCollateError",
        "InputError",
        "LimitError",
        "PlanError",
        "StateError",
        "StateMismatchError",
        "StorageError",
        "StoreChangedError",
        "StoreCorruptError",
        "StoreError",
        "StoreIncompleteError",
        "StoreVersionError",
        "StoreWriteError",
        "UnsafeStoreError",
        "WorkerError",
    ),
    "loader.stream": ("StreamLoader",),
    "pretokenize.joining": ("merge",),
    "pretokenize.run": ("prepare",),
    "ragged.ragged": ("Ragged",),
    "ragged.ragged_batch": ("RaggedBatch",),
    "corpus.exports.exporting": ("export",),
    "corpus.mixture": ("mix",),
    "corpus.recognised": ("open_corpus",),
    "reports.audits.auditing": ("audit",),
    "store.reader": ("TokenStore",),
    "store.writer": ("StoreWriter",),
    "templates.fields": ("PromptTemplate",),
    "templates.jinja.chat_template": ("ChatTemplate",),
    "tokenizers.load": ("load_encoding",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  # the table above is the list


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        value = _installed_version()
    elif name in _HOME_OF:
        value = getattr(import_module(f"fastcollate.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'fastcollate' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), "__version__", *__all__]


def _installed_version() -> str:
    """Return what pyproject.toml said when the package was installed; reading it takes milliseconds."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("fastcollate")
    except PackageNotFoundError:
        return "0+unknown"  # a source tree that is not installed
