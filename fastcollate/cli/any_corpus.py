"""What verbs that read any corpus share: how its tokens are named on the command line, and opened."""

from __future__ import annotations

import argparse

from fastcollate.cli.setting_pairs import add_storage_options
from fastcollate.corpus.mapped.mapped_corpus import MappedCorpus
from fastcollate.corpus.recognised import open_corpus
from fastcollate.store.reader import TokenStore

__all__ = ["add_corpus", "opened"]


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """The place, and what some token files do not say of themselves."""
    what = (
        "the directory of a store, or its URL (s3://, gs://, az://), or token files of another program "
        "(Megatron, llm.c, datatrove ...)"
    )
    parser.add_argument("store", metavar="DIR|URL", help=what)
    parser.add_argument("--dtype", metavar="NAME", help="of tokens whose files do not say it, such as uint16")
    parser.add_argument("--eot-token-id", type=int, metavar="N", help="the token that ends a document, likewise")
    add_storage_options(parser)


def opened(args: argparse.Namespace) -> TokenStore | MappedCorpus:
    """Return what lies there."""
    return open_corpus(
        args.store, dtype=args.dtype, eot_token_id=args.eot_token_id, storage_options=args.storage_options
    )
