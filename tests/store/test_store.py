"""A store gives back what was written, to us and to any other program."""

import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import contents, gathered, write_store

from fastcollate import EncodingError, InputError, Ragged, StoreChangedError, StoreError, StoreWriter, TokenStore

LAYOUTS = ["arrow", "npy"]
# An encoding whose ids need 32 bits, as those of recent models do.
LARGE = tiktoken.Encoding(
    "large",
    pat_str=r"(?s:.)",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)},
    special_tokens={"<|endoftext|>": 100_000},
)


@st.composite
def corpora(draw):
    """(encoding, rows, spans, source_rows) of one to nine records."""
    encoding, largest = draw(st.sampled_from([("bytes", 256), (LARGE, 100_000)]))
    rows = draw(st.lists(st.lists(st.integers(0, largest), min_size=1, max_size=6), min_size=1, max_size=9))
    spans = []
    for row in rows:
        cuts = draw(st.lists(st.integers(0, len(row)), max_size=4).map(sorted))
        spans.append(cuts[: len(cuts) // 2 * 2])
    return encoding, rows, spans, draw(st.lists(st.integers(0, 2**40), min_size=len(rows), max_size=len(rows)))


def write(path, corpus, *, layout="arrow", records_per_shard=2, cuts=()):
    """A store of `corpus`, appended in as many pieces as `cuts` makes."""
    encoding, rows, spans, source_rows = corpus
    with StoreWriter(path, encoding=encoding, layout=layout, records_per_shard=records_per_shard) as writer:
        edges = [0, *sorted(cuts), len(rows)]
        for a, b in pairwise(edges):
            writer.append(Ragged.from_rows(rows[a:b]), Ragged.from_rows(spans[a:b]), source_rows[a:b])
    return TokenStore(path)


def same(found, expected):
    """Whole arrays, with dtype."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def lists(rows):
    return [row.tolist() for row in rows]


# Round trip


@settings(max_examples=40)
@given(corpora(), st.sampled_from(LAYOUTS), st.integers(1, 10))
def test_what_was_written_is_read(tmp_path_factory, corpus, layout, records_per_shard):
    encoding, rows, spans, source_rows = corpus
    path = tmp_path_factory.mktemp("round") / "store"
    store = write(path, corpus, layout=layout, records_per_shard=records_per_shard)
    dtype = np.uint32 if encoding is LARGE else np.uint16
    assert len(store) == len(rows)
    for i, row in enumerate(rows):
        same(store[i], np.array(row, dtype))
        same(store.spans(i), np.array(spans[i], np.uint32).reshape(-1, 2))
        assert store.source_row(i) == source_rows[i]
    assert lists(store) == rows
    lengths = np.array([len(row) for row in rows], np.int64)
    same(store.lengths, lengths)
    assert store.num_tokens == lengths.sum()
    for found, expected in zip(store.length_histogram(), np.unique(lengths, return_counts=True), strict=True):
        same(found, expected.astype(np.int64))
    assert (store.encoding, store.eot_token_id) == (("large", 100_000) if encoding is LARGE else ("bytes", 256))


@settings(max_examples=20)
@given(corpora(), st.sampled_from(LAYOUTS), st.integers(1, 4), st.data())
def test_equal_input_gives_equal_bytes_however_it_is_appended(
    tmp_path_factory, corpus, layout, records_per_shard, data
):
    folder = tmp_path_factory.mktemp("bytes")
    cuts = data.draw(st.lists(st.integers(0, len(corpus[1])), max_size=4))
    write(folder / "once", corpus, layout=layout, records_per_shard=records_per_shard)
    write(folder / "pieces", corpus, layout=layout, records_per_shard=records_per_shard, cuts=cuts)
    assert contents(folder / "once") == contents(folder / "pieces")


SMALL = ("bytes", [[1, 2, 3], [4], [5, 256], [6, 7], [8]], [[0, 1, 2, 3], [], [1, 2], [0, 0], []], [0, 5, 6, 7, 9])


@pytest.mark.parametrize(("encoding", "ids"), [("bytes", pa.uint16()), (LARGE, pa.uint32())])
def test_any_arrow_program_can_read_it(tmp_path, encoding, ids):
    write(tmp_path / "store", (encoding, *SMALL[1:]), records_per_shard=2)
    found = {"input_ids": [], "spans": [], "source_row": [], "supervised": []}
    for name, records in (("00000", 2), ("00001", 2), ("00002", 1)):
        with pa.memory_map(str(tmp_path / f"store/shard-{name}.arrow")) as source:
            reader = pa.ipc.open_file(source)
            assert (reader.num_record_batches, reader.get_batch(0).num_rows) == (1, records)
            table = reader.read_all()
        table.validate(full=True)
        assert table.schema.types == [pa.large_list(ids), pa.large_list(pa.uint32()), pa.int64(), pa.int32()]
        for column, values in table.to_pydict().items():
            found[column] += values
    assert [found["input_ids"], found["spans"], found["source_row"]] == list(SMALL[1:])
    assert found["supervised"] == [2, 0, 1, 0, 0]


@pytest.mark.parametrize(("encoding", "ids"), [("bytes", np.uint16), (LARGE, np.uint32)])
def test_any_numpy_program_can_read_it(tmp_path, encoding, ids):
    write(tmp_path / "store", (encoding, *SMALL[1:]), layout="npy", records_per_shard=3)
    expected = {
        "00000": [([1, 2, 3, 4, 5, 256], [0, 3, 4, 6]), ([0, 1, 2, 3, 1, 2], [0, 4, 4, 6]), [0, 5, 6], [2, 0, 1]],
        "00001": [([6, 7, 8], [0, 2, 3]), ([0, 0], [0, 2, 2]), [7, 9], [0, 0]],
    }
    assert len(list((tmp_path / "store").iterdir())) == 15
    for name, (tokens, spans, source_rows, supervised) in expected.items():
        for array, values, dtype in (
            ("input_ids", tokens[0], ids),
            ("offsets", tokens[1], np.int64),
            ("spans", spans[0], np.uint32),
            ("span_offsets", spans[1], np.int64),
            ("source_row", source_rows, np.int64),
            ("supervised", supervised, np.int32),
        ):
            same(np.load(tmp_path / f"store/shard-{name}.{array}.npy"), np.array(values, dtype))


def test_a_store_without_spans_says_so(tmp_path):
    store = write_store(tmp_path / "store", [2, 3])
    assert not store.has_spans
    same(store.spans(0), np.empty((0, 2), np.uint32))
    assert store.columns == {}


# Reading


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_record_is_a_read_only_view_of_the_file(tmp_path, layout):
    store = write(tmp_path / "store", SMALL, layout=layout)
    for i in range(len(store)):
        assert np.shares_memory(store[i], store[i])  # looked up twice, and the same memory
        assert np.shares_memory(gathered(store, [i]).tokens.values, store[i])
        for view in (store[i], gathered(store, [i]).tokens.values):
            assert not view.flags.owndata
            with pytest.raises(ValueError, match="read-only"):
                view[0] = 1
    assert np.shares_memory(gathered(store, [1, 0]).tokens.values, store[0])
    assert store.take([0]).values.flags.writeable


@settings(max_examples=30)
@given(corpora(), st.integers(1, 4), st.data())
def test_selections_equal_a_loop_across_shards(tmp_path_factory, corpus, records_per_shard, data):
    _, rows, spans, _ = corpus
    store = write(tmp_path_factory.mktemp("pick") / "store", corpus, records_per_shard=records_per_shard)
    first = data.draw(st.integers(0, len(rows) - 1))
    view = store.split({"before": first / len(rows) + 1e-9, "here": None})["here"]
    rows, spans = rows[len(rows) - len(view) :], spans[len(spans) - len(view) :]
    chosen = data.draw(st.lists(st.integers(0, len(view) - 1), max_size=70))
    fillers = data.draw(st.integers(0, 3))
    indices = np.array(chosen, np.int64)
    same(view.at_epoch(0, 0).lengths_at(indices), np.array([len(rows[i]) for i in chosen], np.int64))
    same(view.take(chosen).values, np.array([t for i in chosen for t in rows[i]], store[0].dtype))
    assert lists(view.take(chosen)) == [rows[i] for i in chosen]
    asked = np.concatenate([indices, np.full(fillers, -1)])
    batch = gathered(view, chosen, sorted(view.columns)).filled(len(asked)).laid_out(width=9)
    assert lists(batch) == [rows[i] for i in chosen] + [[]] * fillers
    assert lists(batch.spans) == [spans[i] for i in chosen] + [[]] * fillers
    same(batch.lengths, np.array([len(rows[i]) for i in chosen] + [0] * fillers, np.int64))
    same(batch.record_ids, asked)
    assert batch.width == 9


def test_records_count_from_the_end_too(tmp_path):
    store = write(tmp_path / "store", SMALL)
    assert lists(store[i] for i in range(-5, 0)) == SMALL[1]
    view = store.split({"a": 0.4, "b": None})["b"]
    assert (view[-1].tolist(), view[-3].tolist(), view.spans(-3).tolist()) == ([8], [5, 256], [[1, 2]])
    assert view.source_row(-1) == 9
    for outside in (3, -4):
        with pytest.raises(IndexError, match=f"record {outside} of a store with 3 records"):
            view[outside]
    for outside in ([5], [-1], [0, 1, 7]):
        with pytest.raises(InputError, match="take needs row numbers from 0 to 4"):
            store.take(outside)


def test_text_is_decoded(tmp_path):
    rows = [list("Hé!".encode()), [0xC3], [104, 105, 256]]
    store = write(tmp_path / "store", ("bytes", rows, [[]] * 3, [0, 1, 2]))
    assert [store.text(i) for i in range(3)] == ["Hé!", "\ufffd", "hi<|endoftext|>"]


def test_text_is_not_decoded_with_another_vocabulary_of_the_same_name(tmp_path):
    other = tiktoken.Encoding(
        "bytes",
        pat_str=r"(?s:.)",
        mergeable_ranks={bytes([byte]): 255 - byte for byte in range(256)},
        special_tokens={"<|endoftext|>": 256},
    )
    store = write(tmp_path / "store", (other, [[1]], [[]], [0]))
    with pytest.raises((EncodingError, StoreError), match="bytes"):
        store.text(0)


def test_a_store_in_another_process_is_the_same_store(tmp_path):
    store = write(tmp_path / "store", SMALL)
    view = store.split({"a": 0.4, "b": None})["b"]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for mine in (store, view):
            rows, fingerprint = pool.submit(rows_of, mine).result()
            assert rows == lists(mine)
            assert fingerprint == mine.fingerprint
    assert len(pickle.dumps(store)) < 1000


def rows_of(store):
    return lists(store), store.fingerprint


def test_a_store_replaced_under_a_run_is_noticed(tmp_path):
    sent = pickle.dumps(write(tmp_path / "store", SMALL))
    shutil.rmtree(tmp_path / "store")
    write_store(tmp_path / "store", [3, 1, 2, 2, 1])
    with pytest.raises(StoreChangedError, match="store was replaced by another store while it was in use"):
        pickle.loads(sent)[0]  # opened when it is first read


def test_an_unknown_way_to_verify_is_refused(tmp_path):
    with pytest.raises(InputError, match="verify is 'all': it must be 'none', 'index' or 'full'"):
        TokenStore(tmp_path, verify="all")
