"""Other ways to tokenise a file of JSON Lines whose records are `{"text": ...}`, each in one thread.

Each ends every text with the end-of-text token, writes the ids to files in a directory, and returns a function
that reads them back: what is timed is writing them.
"""

import os
import sys
from contextlib import contextmanager
from importlib import import_module

import numpy as np

from fastcollate.tokenizers.tokenizer import byte_of_letter


def gpt2_json(encoding, path):
    """A tiktoken encoding of bytes as a `tokenizer.json`; returns the path.

    The merge that makes a token is of the two parts that merging all earlier tokens leaves of it.
    """
    tokenizers = import_module("tokenizers")
    ranks = encoding._mergeable_ranks
    letters = {byte: letter for letter, byte in byte_of_letter().items()}
    names = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.get):
        if len(token) > 1:
            left, right = _halves(token, ranks)
            merges.append((names[left], names[right]))
    vocabulary = {names[token]: rank for token, rank in ranks.items()}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(path))
    return path


def _halves(token, ranks):
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        i = pairs.index(min(pairs))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def by_datasets(source, home, tokenizer, end):
    """`datasets.map` with a fast tokenizer of transformers, in batches, as both document it."""
    datasets, transformers = import_module("datasets"), import_module("transformers")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tokenizer))

    def tokenise(batch):
        return {"input_ids": [[*row, end] for row in fast(batch["text"])["input_ids"]]}

    with _quietly(datasets):
        records = datasets.load_dataset("json", data_files=str(source), split="train", cache_dir=str(home))
        made = records.map(tokenise, batched=True, remove_columns=["text"], load_from_cache_file=False)
    return lambda: made["input_ids"]


def by_datatrove(source, home, tokenizer, end):
    """datatrove's `DocumentTokenizer` after its reader of JSON Lines, without shuffling."""
    readers = import_module("datatrove.pipeline.readers")
    writer = import_module("datatrove.pipeline.tokens.tokenizer").DocumentTokenizer(
        str(home),
        tokenizer_name_or_path=str(tokenizer),
        eos_token="<|endoftext|>",
        shuffle_documents=False,
        save_final_metadata=False,
    )
    with _quietly():
        writer.run(readers.JsonlReader(str(source.parent), glob_pattern=source.name).run())

    def read():
        (path,) = home.glob("*.ds")
        ids = np.fromfile(path, np.uint16)
        return np.split(ids, np.flatnonzero(ids == end) + 1)[:-1]  # no text holds the end token

    return read


@contextmanager
def _quietly(datasets=None):
    """One thread, no network, no progress."""
    wanted = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    if datasets is not None:
        datasets.disable_progress_bars()
    if "loguru" in sys.modules:
        sys.modules["loguru"].logger.remove()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
