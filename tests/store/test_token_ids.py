"""Token ids outside the vocabulary, which hashes cannot judge: an error in each way to read them."""

import numpy as np
import pytest
import torch
from damage import LAYOUTS, edit, write

from fastcollate import (
    BucketedDataset,
    PackedDataset,
    PackingCollator,
    PaddingCollator,
    Ragged,
    StoreCorruptError,
    StoreWriter,
    StreamLoader,
    TokenStore,
    mix,
)
from fastcollate.dataset import announced
from fastcollate.ragged import Bound, Scattered

ROWS = [[7, 7, 7], [8, 8], [9], [10, 10, 10, 11], [10]]
SAYS = r"store: a record holds the token id 11, and the vocabulary has 11, numbered from 0"


@pytest.fixture(params=LAYOUTS)
def path(request, tmp_path):
    path = write(tmp_path / "store", request.param, ROWS)
    edit(path, lambda content: content["encoding"].update(n_vocab=11, eot_token_id=10))
    return path


def padded(store, collate, **options):
    return StreamLoader(BucketedDataset(store, batch_size=2), collate, **options)


def packed(store, collate):
    return StreamLoader(PackedDataset(store, length=5, batch_size=1), collate)


WAYS = {
    "dataset": lambda store: BucketedDataset(store, batch_size=2),
    "padded": lambda store: padded(store, PaddingCollator(0)),
    "left, shifted": lambda store: padded(store, PaddingCollator(0, padding_side="left", shift_labels=True)),
    "kept end": lambda store: padded(store, PaddingCollator(0, max_length=2, truncation="keep_end")),
    "packs": lambda store: packed(store, PackingCollator(0)),
    "flat": lambda store: packed(store, PackingCollator(0, layout="flat")),
    "ragged": lambda store: padded(store, PaddingCollator(0), transfer="ragged", device="cpu"),
    "worker": lambda store: padded(store, PaddingCollator(0), num_workers=1),
    "DataLoader": lambda store: torch.utils.data.DataLoader(
        BucketedDataset(store, batch_size=2), batch_size=None, collate_fn=PaddingCollator(0)
    ),
    "mixture": lambda store: padded(mix([(store, 2.5), (store, 1.0)]), PaddingCollator(0)),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_id_outside_the_vocabulary_is_never_delivered(path, way):
    for verify in ("index", "full"):
        with pytest.raises(StoreCorruptError, match=SAYS):
            list(WAYS[way](TokenStore(path, verify=verify)))


def test_records_that_are_taken_are_checked_and_others_are_not(path):
    store = TokenStore(path)
    assert [row.tolist() for row in store.take([0, 4, 0])] == [[7, 7, 7], [10], [7, 7, 7]]
    with pytest.raises(StoreCorruptError, match=SAYS):
        store.take([4, 3])


def test_a_part_without_such_ids_is_read(path):
    first = TokenStore(path).split({"first": 0.6, "rest": None})["first"]
    assert sorted(row.tolist() for batch in BucketedDataset(first, batch_size=3) for row in batch.tokens) == [
        [7, 7, 7],
        [8, 8],
        [9],
    ]


def test_who_trusts_the_files_gets_what_they_hold(path):
    (batch,) = BucketedDataset(TokenStore(path, verify="none"), batch_size=5)
    assert sorted(row.tolist() for row in batch.tokens) == sorted(ROWS)


def test_cells_between_rows_are_not_judged():
    buffer = np.array([1, 99, 2, 99], np.uint16)
    rows = Scattered([buffer], buffer.dtype, None, np.array([0, 2]), np.array([1, 1]), bound=Bound(3, "here"))
    assert rows.joined().values.tolist() == [1, 2]
    assert rows.laid_out(np.array([1, 3]), 4)[[1, 3]].tolist() == [1, 2]
    with pytest.raises(StoreCorruptError, match="here: a record holds the token id 99"):
        rows._replace(lengths=np.array([1, 2])).joined()


def test_several_bounds_judge_each_array_by_its_own():
    small, large = Bound(3, "a"), Bound(5, "b")
    assert Bound.of_all([(small, 1), (small, 2)]) == small
    assert Bound.of_all([(None, 2)]) is None
    both = Bound.of_all([(large, 1), (None, 1), (small, 1)])
    assert both == (3, "", (large, None, small))
    assert Bound.of_all([(both, 3), (small, 1)]).each == (large, None, small, small)
    buffers = [np.array([4], np.uint16), np.array([9], np.uint16), np.array([2, 4], np.uint16)]
    homes, starts = np.array([0, 1, 2]), np.zeros(3, np.int64)
    rows = Scattered(buffers, np.dtype(np.uint16), homes, starts, np.array([1, 1, 1]), bound=both)
    assert rows.joined().values.tolist() == [4, 9, 2]
    with pytest.raises(StoreCorruptError, match="a: a record holds the token id 4, and the vocabulary has 3"):
        rows._replace(lengths=np.array([1, 1, 2])).joined()


LARGE = [[7] * 4] * 100 + [[7, 7, 11, 7]] + [[7] * 4] * 99


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("batch_size", [2, 32, 100])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_of_many_rows_are_checked_where_they_are_copied_at_once(tmp_path, shards, batch_size, num_workers):
    with StoreWriter(tmp_path / "store", encoding="bytes", records_per_shard=-(-200 // shards)) as writer:
        writer.append(Ragged.from_rows(LARGE))
    edit(tmp_path / "store", lambda content: content["encoding"].update(n_vocab=11, eot_token_id=10))
    store = TokenStore(tmp_path / "store")
    for options in ({}, {"padding_side": "left"}, {"shift_labels": True}, {"end_token_id": 250}):
        dataset = BucketedDataset(store, batch_size=batch_size, shuffle=False)
        with (
            StreamLoader(dataset, PaddingCollator(251, **options), num_workers=num_workers) as loader,
            pytest.raises(StoreCorruptError, match=SAYS),
        ):
            list(loader)


def test_who_looks_at_a_record_sees_what_it_holds(path):
    store = TokenStore(path)
    assert store[3].tolist() == ROWS[3]
    assert store.at_epoch(0, 0).gather(np.arange(5)).tokens.to_ragged() == Ragged.from_rows(ROWS, np.uint16)


def test_one_source_that_is_trusted_leaves_the_others_checked(path):
    mixture = mix([(TokenStore(path), 1.0), (TokenStore(path, verify="none"), 1.0)])
    with pytest.raises(StoreCorruptError, match=SAYS):
        list(BucketedDataset(mixture, batch_size=10))
    trusted = mix([(TokenStore(path, verify="none"), 1.0), (TokenStore(path, verify="none"), 1.0)])
    assert sum(len(batch.record_ids) for batch in BucketedDataset(trusted, batch_size=10)) == 10


@pytest.mark.parametrize("trusted_first", [True, False])
def test_sources_that_memory_does_not_hold_are_judged_each_by_its_own(path, tmp_path, monkeypatch, trusted_first):
    monkeypatch.setattr(announced, "_SMALL", 0)
    monkeypatch.setattr(announced, "memory_room", lambda: 1)
    sound = write(tmp_path / "sound", "arrow", [[7, 7, 7], [8, 8], [9], [10, 10], [10]])
    edit(sound, lambda content: content["encoding"].update(n_vocab=11, eot_token_id=10))
    trusted = (TokenStore(path, verify="none"), 1.0)

    def rows_of(judged):
        sources = [trusted, (judged, 1.0)] if trusted_first else [(judged, 1.0), trusted]
        return [
            row.tolist()
            for batch in BucketedDataset(mix(sources), batch_size=10, shuffle_block=1 << 20)
            for row in batch.tokens
        ]

    assert [10, 10, 10, 11] in rows_of(TokenStore(sound))
    with pytest.raises(StoreCorruptError, match=SAYS):
        rows_of(TokenStore(path))
