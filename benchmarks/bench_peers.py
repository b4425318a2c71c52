"""The other loaders deliver what they should: every record once, padded alike, and the rest after a resume."""

import json
import subprocess
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.harness import measure
from benchmarks.harness.corpora import make_store
from benchmarks.harness.delivered import check_delivered, rows_of
from benchmarks.harness.peer_row import as_row
from fastcollate import BucketedDataset, PaddingCollator

ROOT = Path(__file__).parents[1]
PAD = 256
RECORDS = 403
ARGUMENTS = {"batch_size": 32, "pad_token_id": PAD, "seed": 5}

# Peers warn of their own affairs; in every other test a warning is an error.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("peers") / "store", "short", RECORDS)


@pytest.fixture(scope="module", params=peers.NAMES)
def written(request, small_store, tmp_path_factory):
    """(the peer's module, its files of the store)."""
    peer = import_peer(request.param)
    directory = tmp_path_factory.mktemp("written") / request.param
    peer.write(small_store, directory)
    return peer, directory


def import_peer(name):
    try:
        return peers.load_peer(name)
    except ModuleNotFoundError as error:
        if error.name.startswith(("benchmarks", "fastcollate")):
            raise
        pytest.skip(f"peer {name} is not installed: {error}")


def records_in(batches):
    return Counter(row for batch in batches for row in rows_of(batch, pad_token_id=PAD))


def test_every_peer_is_named():
    files = Path(peers.__file__).parent.glob("*.py")
    assert {path.stem for path in files} - {"__init__"} == set(peers.NAMES)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_has_every_record_once(written, small_store, num_workers):
    peer, directory = written
    batches = list(peer.loader(directory, num_workers=num_workers, **ARGUMENTS))
    assert records_in(batches) == Counter(tuple(row.tolist()) for row in small_store)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_epoch_goes_on_where_it_stopped(written, num_workers):
    peer, directory = written
    arguments = {"num_workers": num_workers, **ARGUMENTS}
    whole = list(peer.loader(directory, **arguments))
    start = peers.start_after(peer, directory, 5, **arguments)
    rest = peer.loader(directory, start=start, **arguments)
    assert records_in(rest) == records_in(islice(whole, 5, None))


def test_rows_that_are_not_the_stores_are_found(small_store):
    collate = PaddingCollator(PAD)
    batches = list(map(collate, BucketedDataset(small_store, batch_size=32)))
    check_delivered(batches, small_store, pad_token_id=PAD)
    with pytest.raises(AssertionError, match=r"^32 of 435 rows delivered are not the store's"):
        check_delivered([*batches, batches[0]], small_store, pad_token_id=PAD)
    batches[0]["input_ids"][0, 0] += 1
    batches[0]["labels"][0, 0] += 1
    with pytest.raises(AssertionError, match=r"^1 of 403 rows delivered are not the store's"):
        check_delivered(batches, small_store, pad_token_id=PAD)


def test_a_failed_assertion_is_why_a_peer_is_missing():
    why = as_row({"title": "a loader", "note on write": "AssertionError: 3 of 64 rows"})["missing"]
    assert why == "write: AssertionError: 3 of 64 rows"  # which fails the run, as another test says


def test_a_measurement_has_every_figure(tmp_path):
    make_store(tmp_path / "store", "short", RECORDS)
    command = [*measure.COMMAND, "megatron", str(tmp_path), "--seconds", "0.05"]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert "missing" not in found, found
    assert found["note"] == peers.load_peer("megatron").NOTES
    assert found["records"] == RECORDS
    assert 0 < found["tokens_per_second_min"] <= found["tokens_per_second"] <= found["tokens_per_second_max"]
    assert 0 < found["padding"] < 1
    assert 0 < found["p50_milliseconds"] <= found["p99_milliseconds"] <= found["max_milliseconds"]
    assert all(found[f"{name}_seconds"] > 0 for name in ("first_batch", "resume_50", "resume_99"))
    assert found["peak_pss_megabytes"] > 10
