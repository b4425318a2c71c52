"""What verbs that read any corpus share: how its tokens are named on the command line, and opened."""

from __future__ import annotations

import argparse

from fastcollate.corpus.mapped_corpus import MappedCorpus
from fastcollate.corpus.recognised import open_corpus
from fastcollate.store.reader import TokenStore

__all__ = ["add_corpus", "opened"]


def add_corpus(parser: argparse.ArgumentParser, *, url: bool = False) -> None:
    """The place, and what some token files do not say of themselves."""
    also = ", or its URL (s3://, gs://, az://)" if url else ""
    what = f"the directory of a store{also}, or token files of another program (Megatron, llm.c, datatrove ...)"
    parser.add_argument("store", metavar="DIR|URL" if url else "DIR", help=what)
    parser.add_argument("--dtype", metavar="NAME", help="of tokens whose files do not say it, such as uint16")
    parser.add_argument("--eot-token-id", type=int, metavar="N", help="the token that ends a document, likewise")


def opened(args: argparse.Namespace) -> TokenStore | MappedCorpus:
    """Return what lies there."""
    return open_corpus(args.store, dtype=args.dtype, eot_token_id=args.eot_token_id)
