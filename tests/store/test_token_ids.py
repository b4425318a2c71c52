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
    StoreCorruptError,
    StreamLoader,
    TokenStore,
    mix,
)
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


def test_several_bounds_are_the_loosest_and_unknown_where_one_is():
    small, large = Bound(3, "a"), Bound(5, "b")
    assert Bound.of_all([small, small]) == small
    assert Bound.of_all([large, small]) == (5, "a or b")
    assert Bound.of_all([small, None]) is None
    assert Bound.of_all([]) is None
