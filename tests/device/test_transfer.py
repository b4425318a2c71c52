"""Staging and moving batches: one copy each, the same batches, memory reused; what CUDA adds is in test_cuda."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from batches import COLLATED, content
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset

from fastcollate import (
    BucketedDataset,
    CollateError,
    InputError,
    PaddingCollator,
    StreamLoader,
)
from fastcollate.device.copier import DeviceCopier
from fastcollate.device.ring import Ring, Slab

Pair = namedtuple("Pair", "left right")  # noqa: PYI024


@st.composite
def items(draw):
    tensor = st.builds(
        lambda dtype, shape, contiguous: (
            torch.arange(int(np.prod(shape))).to(dtype).reshape(shape)
            if contiguous
            else torch.arange(2 * int(np.prod(shape))).to(dtype).reshape(*shape, 2)[..., 0]
        ),
        st.sampled_from([torch.int64, torch.int32, torch.uint8, torch.bool, torch.float32, torch.bfloat16]),
        st.lists(st.integers(0, 5), max_size=3),
        st.booleans(),
    )
    leaf = tensor | st.integers() | st.text(max_size=3)
    return draw(
        st.recursive(
            leaf,
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=2), inner, max_size=3)
                | st.builds(Pair, inner, inner)
            ),
            max_leaves=8,
        )
    )


def as_lists(item):
    if isinstance(item, torch.Tensor):
        return "tensor", item.dtype, item.tolist()
    if isinstance(item, dict):
        return {key: as_lists(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [type(item), *map(as_lists, item)]
    return item


@given(st.lists(items(), max_size=4))
def test_any_item_survives_the_copy_through_a_reused_slab(many):
    copier, slab = DeviceCopier("cpu"), Slab(pinned=False)
    before = [as_lists(item) for item in many]
    moved = []
    for item in many:
        slab.reuse()
        moved.append(copier._move(item, slab)[0])
    slab.allocate({"scribble": ((slab.used + 64,), np.uint8)})["scribble"][:] = 255
    assert [as_lists(item) for item in moved] == before == [as_lists(item) for item in many]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcd"),
            st.tuples(st.lists(st.integers(0, 6), max_size=2), st.sampled_from([np.uint16, np.int64])),
        ),
        max_size=5,
    )
)
def test_arrays_of_a_slab_do_not_overlap_and_are_aligned(batches):
    slab = Slab(pinned=False)
    for wanted in batches:
        slab.reuse()
        arrays = slab.allocate({name: (tuple(shape), dtype) for name, (shape, dtype) in wanted.items()})
        for value, (name, (shape, dtype)) in enumerate(wanted.items()):
            assert arrays[name].shape == tuple(shape)
            assert arrays[name].dtype == dtype
            assert arrays[name].ctypes.data % 16 == 0
            arrays[name][...] = value
        for value, array in enumerate(arrays.values()):
            assert (array == value).all()
        tensors = [torch.from_numpy(array) for array in arrays.values()]
        used = slab.used
        places = slab.place(tensors)
        assert slab.used == used
        moved = slab.copy_to(torch.device("cpu"))
        for tensor, at in zip(tensors, places, strict=True):
            assert torch.equal(slab.view(moved, at, tensor), tensor)


def test_a_slab_grows_for_what_comes_late_and_stays():
    slab = Slab(pinned=False)
    array = slab.allocate({"a": ((4,), np.int64)})["a"]
    array[:] = 7
    late = torch.arange(1000)
    places = slab.place([torch.from_numpy(array), late])
    moved = slab.copy_to(torch.device("cpu"))
    assert slab.view(moved, places[0], torch.from_numpy(array)).tolist() == [7] * 4
    assert torch.equal(slab.view(moved, places[1], late), late)
    grown = slab._memory.data_ptr()
    for _ in range(100):
        slab.reuse()
        slab.allocate({"a": ((900,), np.int64)})
        assert slab._memory.data_ptr() == grown


def test_a_ring_takes_its_slabs_in_turn():
    ring = Ring(3, pinned=False)
    slabs = [ring.next_slab() for _ in range(7)]
    assert len({id(slab) for slab in slabs}) == 3
    assert slabs[:3] == slabs[3:6]
    ring.settle()
    assert ring.seconds_on_bus == 0.0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", COLLATED)
def test_ragged_batches_are_the_padded_ones(store, kind, workers):
    dataset, collate = COLLATED[kind](store)
    expected = [content(batch) for batch in StreamLoader(dataset, collate)]
    dataset.set_epoch(0)
    loader = StreamLoader(dataset, collate, transfer="ragged", num_workers=workers)
    assert [content(batch) for batch in loader] == expected


@pytest.mark.parametrize("transfer", ["padded", "ragged"])
def test_a_consumer_may_keep_every_batch(store, transfer):
    dataset, collate = COLLATED["padded"](store)
    kept = list(StreamLoader(dataset, collate, transfer=transfer))
    dataset.set_epoch(0)
    assert [content(batch) for batch in kept] == [content(batch) for batch in map(collate, dataset)]


@pytest.mark.parametrize("transfer", ["padded", "ragged"])
@pytest.mark.parametrize("kind", COLLATED)
def test_a_device_without_pinning_gets_one_copy_a_parcel(store, kind, transfer):
    dataset, collate = COLLATED[kind](store)
    shapes = [
        [
            (t.shape, t.dtype)
            for t in (batch.values() if isinstance(batch, dict) else batch)
            if isinstance(t, torch.Tensor)
        ]
        for batch in map(collate, dataset)
    ]
    dataset.set_epoch(0)
    loader = StreamLoader(dataset, collate, device="meta", transfer=transfer)
    found = []
    for batch in loader:
        tensors = [
            t for t in (batch.values() if isinstance(batch, dict) else batch) if isinstance(t, torch.Tensor)
        ]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        found.append([(tensor.shape, tensor.dtype) for tensor in tensors])
    assert found == shapes
    dataset.set_epoch(0)
    parcels = [len(parcel) for parcel in dataset.parcels(dataset.begin().start)]
    assert parcels[:2] == [1, 4]
    assert (
        (loader.stats.copies, loader.stats.batches) == (len(parcels), sum(parcels)) == (len(parcels), len(shapes))
    )
    if kind != "shifted":  # a tuple does not say how many tokens it has
        per_token = loader.stats.bytes_per_token
        assert per_token < (3.3 if transfer == "ragged" else 99)
        assert per_token > (2 if transfer == "ragged" else 16)


def test_nothing_is_copied_to_the_cpu(store):
    loader = StreamLoader(BucketedDataset(store, batch_size=50), PaddingCollator(256))
    assert np.isnan(loader.stats.bytes_per_token)
    list(loader)
    assert (loader.stats.bytes_copied, loader.stats.copies, loader.stats.seconds_on_bus) == (0, 0, 0.0)


def test_a_collator_of_ones_own_is_called_and_copied(store):
    class Marked(PaddingCollator):
        def __call__(self, rows):
            return {**super().__call__(rows), "mark": torch.ones(3, dtype=torch.bool)}

    dataset = BucketedDataset(store, batch_size=50)
    batches = list(StreamLoader(dataset, Marked(256), device="meta"))
    assert {batch["mark"].device.type for batch in batches} == {"meta"}
    with pytest.raises(InputError, match="transfer='ragged' with a Marked: only collators that can `stage`"):
        StreamLoader(dataset, Marked(256), transfer="ragged")


@pytest.mark.parametrize("transfer", ["padded", "ragged"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_collator_that_raises_reaches_the_consumer(store, device, transfer):
    loader = StreamLoader(
        BucketedDataset(store, batch_size=50, buckets=[200]),
        PaddingCollator(256, end_token_id=256),
        device=device,
        transfer=transfer,
    )
    with pytest.raises(CollateError, match="a row needs 201 columns but the plan fixed 200") as caught:
        list(loader)
    assert "lay_out" in [entry.name for entry in caught.traceback]


class OnCuda(IterableDataset):
    def __iter__(self):
        yield DeviceCopier("cuda:1")


def test_a_cuda_device_inside_a_worker_is_an_error_that_says_what_to_do():
    with pytest.raises(InputError, match="device 'cuda:1' inside a DataLoader worker: a forked process cannot"):
        list(DataLoader(OnCuda(), batch_size=None, num_workers=1))
