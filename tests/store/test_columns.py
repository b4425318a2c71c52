"""Columns beside the tokens: what was written is read, by us and by others, however shards are cut."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import gathered

from fastcollate import InputError, Ragged, StoreWriteError, StoreWriter, TokenStore
from fastcollate.ragged import Column

LAYOUTS = ["arrow", "npy"]
WORDS = ["", "a", "Wörter", "\u4e2d\u6587", "a\0b"]


@st.composite
def corpora(draw):
    """Rows, spans, and one column of each kind, of one to twelve records."""
    rows = draw(st.lists(st.lists(st.integers(0, 256), min_size=1, max_size=5), min_size=1, max_size=12))
    spans = []
    for row in rows:
        cuts = draw(st.lists(st.integers(0, len(row)), max_size=4).map(sorted))
        spans.append(cuts[: len(cuts) // 2 * 2])
    count = sum(map(len, spans)) // 2
    groups = draw(st.lists(st.integers(-1, 2), min_size=len(rows), max_size=len(rows)).map(sorted))
    return {
        "rows": rows,
        "spans": spans,
        "weights": draw(st.lists(st.floats(0, 2, width=32), min_size=count, max_size=count)),
        "group": groups,
        "score": draw(st.lists(st.floats(width=64), min_size=len(rows), max_size=len(rows))),
        "flag": draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))),
        "kind": draw(st.lists(st.sampled_from(WORDS), min_size=len(rows), max_size=len(rows))),
        "labels": [[token % 7 for token in row] for row in rows],
    }


def write(path, corpus, *, layout="arrow", records_per_shard=3, cuts=()):
    edges = [0, *sorted(cuts), len(corpus["rows"])]
    with StoreWriter(path, encoding="bytes", layout=layout, records_per_shard=records_per_shard) as writer:
        before = 0
        for a, b in pairwise(edges):
            spans = corpus["spans"][a:b]
            count = sum(map(len, spans)) // 2
            columns = {
                "weights": np.array(corpus["weights"][before : before + count], np.float32),
                "group": np.array(corpus["group"][a:b], np.int64),
                "score": corpus["score"][a:b] or np.empty(0),
                "flag": corpus["flag"][a:b],
                "kind": corpus["kind"][a:b],
                "labels": Ragged.from_rows(corpus["labels"][a:b]),
            }
            before += count
            writer.append(Ragged.from_rows(corpus["rows"][a:b]), Ragged.from_rows(spans), columns=columns)
    return TokenStore(path)


def same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def groups_of(store):
    """The records of each group, as the whole store numbers them."""
    found, last = [], None
    for i in range(len(store)):
        group = int(store.column("group", i)[0]) if "group" in store.columns else -1
        here = (id(store._locate(i)[0]), group)
        if here[1] >= 0 and here == last:
            found[-1].append(i)
        else:
            found.append([i])
        last = here
    return found


@settings(max_examples=60)
@given(corpora(), st.sampled_from(LAYOUTS), st.integers(1, 13), st.data())
def test_what_was_written_is_read(tmp_path_factory, corpus, layout, records_per_shard, data):
    path = tmp_path_factory.mktemp("columns") / "store"
    store = write(path, corpus, layout=layout, records_per_shard=records_per_shard)
    usual = {"group": (Column("int64", "record"), -1), "weights": (Column("float32", "span"), 1)}
    assert store.columns == {
        "spans": Column("uint32", "span"),
        "flag": Column("uint8", "record"),
        "kind": Column("int32", "record", is_text=True),
        "labels": Column("int64", "token"),
        "score": Column("float64", "record"),
        **{name: column for name, (column, value) in usual.items() if set(corpus[name]) - {value}},
    }
    targets = [sum(b - a for a, b in zip(s[::2], s[1::2], strict=True)) for s in corpus["spans"]]
    same(store.supervised, np.array(targets, np.int32))
    chosen = data.draw(st.lists(st.integers(0, len(store) - 1), max_size=20))
    batch = gathered(store, chosen, sorted(store.columns))
    first = np.cumsum([0, *(len(s) // 2 for s in corpus["spans"])]).tolist()
    expected = {
        "flag": [[v] for v in corpus["flag"]],
        "score": [[v] for v in corpus["score"]],
        "labels": corpus["labels"],
        "weights": [corpus["weights"][a:b] for a, b in pairwise(first)],
        "spans": corpus["spans"],
    }
    for name, values in expected.items():
        if name not in store.columns:
            continue
        dtype = np.dtype(store.columns[name].dtype)
        for row, i in enumerate(chosen):
            same(batch.columns[name][row], np.array(values[i], dtype))
            same(store.column(name, i), np.array(values[i], dtype))
    words = store.words("kind")
    assert [words[int(row[0])] for row in batch.columns["kind"]] == [corpus["kind"][i] for i in chosen]


@settings(max_examples=40)
@given(corpora(), st.sampled_from(LAYOUTS), st.integers(1, 5))
def test_groups_are_never_parted(tmp_path_factory, corpus, layout, records_per_shard):
    store = write(
        tmp_path_factory.mktemp("groups") / "store", corpus, layout=layout, records_per_shard=records_per_shard
    )
    wanted: list[list[int]] = []
    for i, group in enumerate(corpus["group"]):
        if group >= 0 and wanted and corpus["group"][i - 1] == group:
            wanted[-1].append(i)
        else:
            wanted.append([i])
    assert groups_of(store) == wanted
    sizes = [shard.records for shard in store.manifest.shards]
    longest = max(map(len, wanted))
    assert sum(sizes) == len(store)
    assert max(sizes) <= max(records_per_shard, longest)


@settings(max_examples=20)
@given(corpora(), st.sampled_from(LAYOUTS), st.data())
def test_equal_input_gives_equal_bytes_however_it_is_appended(tmp_path_factory, corpus, layout, data):
    folder = tmp_path_factory.mktemp("bytes")
    ends = [i for i in range(len(corpus["rows"]) + 1) if i in (0, len(corpus["rows"])) or _parts(corpus, i)]
    cuts = data.draw(st.lists(st.sampled_from(ends), max_size=3))
    for name, some in (("once", []), ("pieces", cuts)):
        write(folder / name, corpus, layout=layout, cuts=some)
    once, pieces = ({f.name: f.read_bytes() for f in (folder / name).iterdir()} for name in ("once", "pieces"))
    assert once == pieces


def _parts(corpus, i):
    return corpus["group"][i] < 0 or corpus["group"][i] != corpus["group"][i - 1]


def test_any_arrow_program_reads_columns(tmp_path):
    with StoreWriter(tmp_path / "s", encoding="bytes") as writer:
        columns = {
            "kind": ["b", "a", "b"],
            "weights": np.array([0.5, 2.0], np.float32),
            "labels": Ragged.from_rows([[1, 2], [3], [4]], np.uint16),
        }
        writer.append(
            Ragged.from_rows([[1, 2], [3], [4]]), Ragged.from_rows([[0, 1, 1, 2], [], []]), None, columns
        )
    table = pa.ipc.open_file(tmp_path / "s/shard-00000.arrow").read_all()
    table.validate(full=True)
    assert table.column_names == ["input_ids", "spans", "source_row", "supervised", "kind", "labels", "weights"]
    assert table["kind"].to_pylist() == ["b", "a", "b"]
    assert table["labels"].to_pylist() == [[1, 2], [3], [4]]
    assert table["weights"].to_pylist() == [[0.5, 2.0], [], []]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"../x": [1]}, "a column cannot be called '../x'"),
        ({"spans": [1]}, "a column cannot be called 'spans'"),
        ({"x": [1, 2]}, "column 'x' has 2 values: it needs one per record, 1"),
        ({"x": Ragged.from_rows([[1]])}, "column 'x' has 1 values: it needs one per token, 2"),
        ({"weights": np.ones(2, np.float32)}, "column 'weights' has 2 values: it needs one per span, 1"),
        ({"x": [None]}, r"column 'x' is object with 1 dimension\(s\): give flat numbers or strings"),
        ({"x": [[1]]}, r"column 'x' is int64 with 2 dimension\(s\)"),
        ({"group": [0.5]}, "column 'group' must hold integers: a group's number from 0, or -1 for none"),
        ({"group": [-2]}, "column 'group' must hold integers"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, columns, message):
    with (
        pytest.raises(StoreWriteError, match=message),
        StoreWriter(tmp_path / "s", encoding="bytes") as writer,
    ):
        writer.append(Ragged.from_rows([[1, 2]]), Ragged.from_rows([[0, 1]]), None, columns)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("later", [{}, {"x": ["a"]}, {"x": [1], "y": [1]}])
def test_every_call_gives_the_same_columns(tmp_path, later):
    with StoreWriter(tmp_path / "s", encoding="bytes") as writer:
        writer.append(Ragged.from_rows([[1]]), columns={"x": [1]})
        with pytest.raises(StoreWriteError, match="is not what it was when the store was begun"):
            writer.append(Ragged.from_rows([[1]]), columns=later)


def test_spans_are_given_in_every_call_or_in_none(tmp_path):
    with StoreWriter(tmp_path / "s", encoding="bytes", records_per_shard=1) as writer:
        writer.append(Ragged.from_rows([[1]]))
        with pytest.raises(StoreWriteError, match="spans were given in one call and left out in another"):
            writer.append(Ragged.from_rows([[1]]), Ragged.from_rows([[0, 1]]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_and_groups_may_begin_late(tmp_path, layout):
    with StoreWriter(tmp_path / "s", encoding="bytes", layout=layout, records_per_shard=2) as writer:
        rows, spans = Ragged.from_rows([[1], [2]]), Ragged.from_rows([[0, 1], [0, 1]])
        writer.append(rows, spans)
        writer.append(rows, spans, None, {"weights": np.array([1, 0.5], np.float32)})
        writer.append(rows, spans, None, {"group": [0, 0], "weights": np.ones(2, np.float32)})
    store = TokenStore(tmp_path / "s", verify="full")
    assert sorted(store.columns) == ["group", "spans", "weights"]
    assert [sorted({"group", "weights"} & shard.places.keys()) for shard in store.manifest.shards] == [
        [],
        ["weights"],
        ["group"],
    ]
    batch = gathered(store, [5, 0, 3, 2], ["group", "weights"])
    same(batch.columns["weights"].joined(), np.array([1, 1, 0.5, 1], np.float32))
    same(batch.columns["group"].joined(), np.array([0, -1, -1, -1], np.int64))
    assert [len(part) for part in store.split({"a": 0.9, "b": None}, seed=0).values()] in ([5, 1], [4, 2])


def test_a_column_that_is_not_there_is_named(tmp_path):
    with StoreWriter(tmp_path / "s", encoding="bytes") as writer:
        writer.append(Ragged.from_rows([[1]]), columns={"x": [1]})
    store = TokenStore(tmp_path / "s")
    with pytest.raises(InputError, match="the store has no column 'y': it has x"):
        store.column("y", 0)
    with pytest.raises(InputError, match="the store has no column of strings 'x'"):
        store.words("x")
