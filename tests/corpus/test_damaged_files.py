"""Token files of other programs with bytes that were changed or cut off: right, or told, and nothing else."""

import contextlib

import numpy as np
import pytest
from foreign import documents
from foreign_files import write_datatrove, write_llm_c, write_megatron, write_olmo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcollate import BucketedDataset, FastCollateError, InputError, StoreError, open_corpus

END = 249
ROWS = [row.tolist() for row in documents(30, most=200)]


def llm_c(folder):
    return write_llm_c(folder / "a.bin", np.concatenate([[END, *row] for row in ROWS]))


def numpy_header(folder):
    np.save(folder / "a.npy", np.concatenate([[END, *row] for row in ROWS]).astype(np.uint16))
    return folder / "a.npy"


# by format: how it is written, and the files whose bytes are changed
WRITERS = {
    "megatron": (lambda folder: write_megatron(folder / "a", ROWS), ["a.idx", "a.bin"]),
    "datatrove": (
        lambda folder: write_datatrove(folder / "a.ds", ROWS, loss=ROWS, metadata="gpt2|2\n9"),
        ["a.ds.index", "a.ds.metadata", "a.ds.loss", "a.ds"],
    ),
    "llm_c": (llm_c, ["a.bin"]),
    "olmo": (lambda folder: write_olmo(folder / "a.npy", ROWS), ["a.csv.gz", "a.npy"]),
    "numpy": (numpy_header, ["a.npy"]),
}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_files_are_read_right_or_told(tmp_path, name, data):
    write, files = WRITERS[name]
    path = write(tmp_path)
    file = tmp_path / data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # the beginning is where headers are
        place = data.draw(st.one_of(st.integers(0, min(120, len(content) - 1)), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255, content[place] ^ 1]))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    if data.draw(st.booleans()):
        content += bytes(data.draw(st.sampled_from([1, 2, 8])))
    file.unlink()  # the one that may still be mapped
    file.write_bytes(bytes(content))
    with contextlib.suppress(StoreError, InputError):  # such as a first number that llm.c does not know
        read_all(open_corpus(path, eot_token_id=END))


def read_all(corpus):
    """Every record lies in its file, by each way to it."""
    assert [len(row) for row in corpus] == corpus.lengths.tolist()
    assert min(corpus.lengths) > 0
    batches = list(BucketedDataset(corpus, batch_size=8))
    assert sum(int(batch.lengths.sum()) for batch in batches) == corpus.num_tokens
    assert all(len(row) == length for batch in batches for row, length in zip(batch, batch.lengths, strict=True))


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_are_swapped_are_told(tmp_path, name):
    """The index of one data set beside the tokens of a longer one; a stream has no index of its own."""
    write, files = WRITERS[name]
    path = write(tmp_path)
    read_all(open_corpus(path, eot_token_id=END))
    tokens = tmp_path / files[-1]
    longer = tokens.read_bytes() + bytes(6)
    tokens.unlink()
    tokens.write_bytes(longer)
    if name == "megatron":  # whose pointers need not reach to the end
        before = open_corpus(path)
        tokens.unlink()
        tokens.write_bytes(longer[:-6])
        assert open_corpus(path).fingerprint != before.fingerprint
        return
    with pytest.raises(FastCollateError, match="is not what was written"):
        open_corpus(path, eot_token_id=END)


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_file_is_told(tmp_path, name):
    write, files = WRITERS[name]
    path = write(tmp_path)
    (tmp_path / files[-1]).unlink()
    with pytest.raises(StoreError):
        open_corpus(path, eot_token_id=END)
