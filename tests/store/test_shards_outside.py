"""The shards of a store are Arrow files, which other programs open without us."""

import numpy as np
import pyarrow.dataset
import pytest

from fastcollate import Ragged, StoreWriter

ROWS = [[5, 6, 7], [8], [9, 10], [11, 12, 13, 14], [15, 16]]
SPANS = [[1, 3], [], [0, 1], [0, 1, 2, 4], [1, 2]]
KINDS = ["chat", "code", "chat", "text", "code"]


@pytest.fixture
def shards(tmp_path):
    """The shards of a store with a column of each kind; each shard has strings of its own."""
    columns = {
        "kind": KINDS,
        "score": np.arange(5) / 4,
        "labels": Ragged.from_rows([[-100, *row[1:]] for row in ROWS]),
    }
    with StoreWriter(tmp_path / "store", encoding="bytes", records_per_shard=2) as writer:
        writer.append(Ragged.from_rows(ROWS, np.uint16), Ragged.from_rows(SPANS), columns=columns)
    return sorted(map(str, (tmp_path / "store").glob("*.arrow")))


def test_datasets_loads_them(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="reads the files of this test")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("arrow", data_files=shards, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["input_ids"][:] == ROWS
    assert loaded["spans"][:] == SPANS
    assert loaded["kind"][:] == KINDS
    assert loaded["labels"][3] == [-100, 12, 13, 14]
    assert loaded.features["input_ids"].feature.dtype == "uint16"


def test_polars_scans_them(shards):
    polars = pytest.importorskip("polars", reason="reads the files of this test")
    table = polars.scan_ipc(shards).filter(polars.col("input_ids").list.len() > 1).collect()
    assert table["input_ids"].to_list() == [row for row in ROWS if len(row) > 1]
    assert table["kind"].to_list() == ["chat", "chat", "text", "code"]
    assert table["score"].to_list() == [0.0, 0.5, 0.75, 1.0]


def test_duckdb_asks_them(shards):
    duckdb = pytest.importorskip("duckdb", reason="reads the files of this test")
    opened = pyarrow.dataset.dataset(shards, format="arrow")
    asked = "select kind, sum(len(input_ids)), list(score order by score) from opened group by kind order by kind"
    with duckdb.connect() as connection:
        connection.register("opened", opened)
        assert connection.sql(asked).fetchall() == [
            ("chat", 5, [0.0, 0.5]),
            ("code", 3, [0.25, 1.0]),
            ("text", 4, [0.75]),
        ]
