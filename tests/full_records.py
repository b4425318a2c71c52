"""Records with all that can lie beside tokens, stores of them, and a store that another one is appended to."""

import numpy as np

from fastcollate import Ragged, StoreWriter, TokenStore
from fastcollate.storage.local import write_whole
from fastcollate.store.appending import appended, keep_manifest, rows_of
from fastcollate.store.shards.second_names import bring_shards

LAYOUTS = ["arrow", "npy"]
WORDS = ["a", "Wörter", "", "b", "\u4e2d\u6587"]


def made(count, seed=0, *, usual=False):
    """Records as a dict of lists; `usual` ones have weights of 1 and no groups, so that no array says so."""
    drawn = np.random.default_rng([count, seed])
    rows = [drawn.integers(0, 257, length).tolist() for length in drawn.integers(1, 30, count).tolist()]
    spans = [np.sort(drawn.integers(0, len(row) + 1, 2 * drawn.integers(0, 3))).tolist() for row in rows]
    return {
        "rows": rows,
        "spans": spans,
        "source_rows": np.sort(drawn.integers(0, 3 * count, count)).tolist(),
        "kind": [WORDS[i] for i in drawn.integers(0, len(WORDS), count).tolist()],
        "score": drawn.random(count).tolist(),
        "labels": [[token % 7 for token in row] for row in rows],
        "weights": [[1.0 if usual else float(np.float32(w)) for w in drawn.random(len(s) // 2)] for s in spans],
        "group": [-1] * count if usual else np.sort(drawn.integers(-1, count // 3, count)).tolist(),
    }


def together(*several):
    """The records of several one after another: rows of the source count on, and groups stay apart."""
    whole = {name: [] for name in several[0]}
    rows = groups = 0
    for records in several:
        for name, values in records.items():
            whole[name] += values
        count = len(records["rows"])
        whole["source_rows"][-count:] = [row + rows for row in records["source_rows"]]
        whole["group"][-count:] = [-1 if group < 0 else group + groups for group in records["group"]]
        rows, groups = rows + max(records["source_rows"]) + 1, groups + max(records["group"]) + 1
    return whole


def write_full(path, records, *, layout="arrow", records_per_shard=7, template="mine", rejected=()):
    options = {"layout": layout, "records_per_shard": records_per_shard, "template": template}
    with StoreWriter(path, encoding="bytes", **options) as writer:
        columns = {
            "kind": records["kind"],
            "score": np.array(records["score"]),
            "labels": Ragged.from_rows(records["labels"], np.uint32),
            "weights": np.array([weight for row in records["weights"] for weight in row], np.float32),
            "group": np.array(records["group"], np.int64),
        }
        writer.append(
            Ragged.from_rows(records["rows"]), Ragged.from_rows(records["spans"]), records["source_rows"], columns
        )
        for number, reason in enumerate(rejected):
            writer.reject({reason: 1}, [{"file": path.name, "row": number, "reason": reason}])
        writer.note({"straddled": len(rejected)} if rejected else {})
    return TokenStore(path)


def assert_holds(store, records):
    """Every array of every record, with its dtype."""
    assert len(store) == len(records["rows"])
    words = store.words("kind")
    for i, row in enumerate(records["rows"]):
        same(store[i], row, np.uint16)
        same(store.spans(i).reshape(-1), records["spans"][i], np.uint32)
        assert store.source_row(i) == records["source_rows"][i]
        assert words[int(store.column("kind", i)[0])] == records["kind"][i]
        same(store.column("score", i), [records["score"][i]], np.float64)
        same(store.column("labels", i), records["labels"][i], np.uint32)
        if "weights" in store.columns:
            same(store.column("weights", i), records["weights"][i], np.float32)
    lengths, targets = [], []
    for row, spans in zip(records["rows"], records["spans"], strict=True):
        lengths.append(len(row))
        targets.append(sum(b - a for a, b in zip(spans[::2], spans[1::2], strict=True)))
    same(store.lengths, lengths, np.int64)
    same(store.supervised, targets, np.int32)
    assert store.num_tokens == sum(lengths)
    for found, expected in zip(store.length_histogram(), np.unique(lengths, return_counts=True), strict=True):
        same(found, expected, np.int64)


def same(found, expected, dtype):
    np.testing.assert_array_equal(found, np.array(expected, dtype), strict=True)


def grow(path, other):
    """Append the store at `other` to the one at `path`, and return the whole."""
    store, more = TokenStore(path), TokenStore(other)
    whole = appended(store.manifest, more.manifest, rows=rows_of(store))
    bring_shards(more.path, more.manifest.shards, path, whole.shards[len(store.manifest.shards) :])
    keep_manifest(path, store.manifest)
    write_whole(path / "manifest.json", whole.as_bytes)
    return TokenStore(path)
