"""A file that changes under its reader is told before the pass goes on, and never kills it."""

import os
import shutil
import time

import pytest
from stores import write_store
from torch.utils.data import DataLoader

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PaddingCollator,
    StoreChangedError,
    StoreCorruptError,
    StreamLoader,
    TokenStore,
    mix,
)
from fastcollate.dataset import unchanged
from fastcollate.storage.local import map_file

LENGTHS = [300, 500, 200, 400] * 500  # of five parcels


@pytest.fixture(scope="module", params=["arrow", "npy"])
def sound(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "store"
    write_store(path, LENGTHS, records_per_shard=400, layout=request.param)
    return path


@pytest.fixture
def path(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "store")
    return tmp_path / "store"


def file_of_tokens(path):
    (found,) = [file for file in path.glob("shard-00001.*") if file.suffix == ".arrow" or "input_ids" in file.name]
    return found


def truncate(path):
    os.truncate(file_of_tokens(path), 0)


def overwrite(path):
    """Write into the file, where it lies."""
    with file_of_tokens(path).open("r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(b"\0" * 100)


def replace(path):
    file = file_of_tokens(path)
    shutil.copy(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


def remove(path):
    file_of_tokens(path).unlink()


CHANGES = {
    truncate: r"has 0 bytes where it had \d+",
    overwrite: "was written to",
    replace: "was replaced by",
    remove: "is gone",
}


def read_and(batches, path, harm):
    """Read what comes when `harm` is done after three batches."""
    for number, _ in enumerate(batches):
        if number == 2:
            time.sleep(0.01)  # the clock of a file system has steps of some milliseconds
            harm(path)
            time.sleep(0.1)  # and this many files are looked at every 20 ms


@pytest.mark.parametrize("harm", CHANGES)
def test_a_change_ends_the_pass(path, harm):
    dataset = BucketedDataset(TokenStore(path, verify="full"), batch_size=8)
    with pytest.raises(StoreChangedError, match=rf"shard-00001.*{CHANGES[harm]}.*resume from the last checkpoint"):
        read_and(dataset, path, harm)


@pytest.mark.parametrize("harm", [truncate, overwrite])
def test_a_change_ends_the_first_epoch_too(path, harm):
    """There files are hashed as well, and what sees it first tells."""
    dataset = PackedDataset(TokenStore(path), length=512)
    with pytest.raises((StoreChangedError, StoreCorruptError), match="shard-00001"):
        read_and(dataset, path, harm)


def test_a_mixture_watches_all_its_sources(path, sound):
    mixture = mix([(TokenStore(sound, verify="full"), 1), (TokenStore(path, verify="full"), 2)])
    with pytest.raises(StoreChangedError, match=r"shard-00001.*was written to"):
        read_and(BucketedDataset(mixture, batch_size=8), path, overwrite)


def test_workers_tell(path):
    collate = PaddingCollator(256)
    with (
        StreamLoader(
            BucketedDataset(TokenStore(path, verify="full"), batch_size=8), collate, num_workers=1
        ) as loader,
        pytest.raises(StoreChangedError, match=r"shard-00001.*was written to"),
    ):
        read_and(loader, path, overwrite)


def test_a_loader_of_torch_tells(path):
    dataset = BucketedDataset(TokenStore(path, verify="full"), batch_size=8)
    loader = DataLoader(dataset, batch_size=None, num_workers=2, collate_fn=PaddingCollator(256))
    with pytest.raises(StoreChangedError, match=r"shard-00001.*was written to"):
        read_and(loader, path, overwrite)


def test_a_change_during_the_last_batches_is_told(path):
    dataset = BucketedDataset(TokenStore(path, verify="full"), batch_size=8)
    whole, batches = len(dataset), iter(dataset)
    for _ in range(whole - 1):
        next(batches)
    time.sleep(0.01)
    overwrite(path)
    with pytest.raises(StoreChangedError):
        list(batches)


def test_who_trusts_the_files_is_not_told(path):
    dataset = BucketedDataset(TokenStore(path, verify="none"), batch_size=8)
    read_and(dataset, path, overwrite)


def test_reading_and_naming_a_file_again_changes_nothing(path):
    def harmless(path):
        file = file_of_tokens(path)
        os.link(file, file.with_suffix(".second"))
        file.read_bytes()
        file.chmod(0o400)

    read_and(BucketedDataset(TokenStore(path, verify="full"), batch_size=8), path, harmless)


@pytest.mark.parametrize(("files", "every"), [(1, 10), (50, 500)])
def test_looking_takes_a_hundredth_of_the_time(monkeypatch, sound, files, every):
    """To look at one takes 0.1 ms here, and something is read each millisecond."""
    now, looks = [0.0], []
    (file,) = [map_file(file_of_tokens(sound))]

    def mapped():
        looks.append(now[0])
        for _ in range(files):
            now[0] += 0.0001
            yield file

    monkeypatch.setattr(unchanged.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(unchanged.time, "thread_time", lambda: now[0])
    watched = unchanged.UnchangedFiles(mapped)
    for _ in range(1000):
        watched.check()
        now[0] += 0.001
    assert len(looks) == -(-1000 // every)
    watched.check(at_once=True)
    watched.check(at_once=True)
    assert len(looks) == -(-1000 // every) + 2
