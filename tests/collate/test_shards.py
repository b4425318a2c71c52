"""Documents padded to chunks, and the zig-zag shares of context parallelism: together they are the batch."""

import numpy as np
import pytest
import torch
from batches import content
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packing_collator import hand_made

from fastcollate import CollateError, PackedDataset, PackingCollator, PaddingCollator, PlanError, StreamLoader
from fastcollate.collate.staged import new_arrays

SIZES = range(1, 17)
CELLS = ("input_ids", "labels", "position_ids", "document_ids")
rows_drawn = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), max_size=5)
layouts = st.sampled_from(
    [{"layout": "rows"}, {"layout": "flat"}, {"layout": "flat", "total": 480, "documents": 6}]
)


def slow_flat(rows, multiple):
    """The cells of padded documents one by one: tokens, labels, positions, documents."""
    cells = []
    for number, row in enumerate(rows):
        for place in range(-(-len(row) // multiple) * multiple):
            real = place < len(row)
            label = row[place] if real and place else -100
            cells.append((row[place], label, place, number) if real else (98, -100, 0, -1))
    return [list(column) for column in zip(*cells, strict=True)] or [[98] * multiple, *[[]] * 3]


@settings(max_examples=60)
@given(rows_drawn.filter(len), st.sampled_from([1, 2, 6, 16]))
def test_each_document_is_padded_by_itself(rows, multiple):
    batch = PackingCollator(98, layout="flat", multiple_of=multiple)(hand_made(rows, [0, len(rows)]))
    for name, expected in zip(CELLS, slow_flat(rows, multiple), strict=True):
        assert batch[name].tolist() == [expected]
    lengths = np.array([len(row) for row in rows])
    padded = -(-lengths // multiple) * multiple
    assert batch["cu_seqlens"].tolist() == np.cumsum([0, *lengths]).tolist()
    assert ("cu_seqlens_padded" in batch) is (multiple > 1)
    if multiple > 1:
        assert batch["cu_seqlens_padded"].dtype == torch.int32
        assert batch["cu_seqlens_padded"].tolist() == np.cumsum([0, *padded]).tolist()
    assert batch["max_seqlen"] == padded.max()
    assert batch.num_tokens == lengths.sum()
    assert batch.num_supervised == (lengths - 1).sum()


def zigzag(extents, rank, size):
    """The cells of a rank, stretch by stretch."""
    cells, begin = [], 0
    for extent in extents:
        chunk = extent // (2 * size)
        for number in (rank, 2 * size - 1 - rank):
            cells += range(begin + number * chunk, begin + (number + 1) * chunk)
        begin += extent
    return cells


@settings(max_examples=60)
@given(rows_drawn, st.integers(1, 4), st.integers(1, 3), layouts)
def test_shares_are_the_chunks_of_each_document_and_together_the_batch(rows, size, times, chosen):
    multiple = 2 * size * times
    width = 20 * multiple if chosen["layout"] == "rows" else None
    total = {"total": 20 * multiple + 160 // multiple * multiple} if "total" in chosen else {}
    rows = [row[: 4 * multiple] for row in rows]
    collator = PackingCollator(98, **{**chosen, **total}, multiple_of=multiple)
    batch = collator(hand_made(rows, [0, len(rows)], width=width))
    lengths = [len(row) for row in rows]
    extents = [-(-length // multiple) * multiple for length in lengths]
    gap = batch["input_ids"].numel() - sum(extents)
    assert gap % multiple == 0
    seen = torch.zeros(batch["input_ids"].numel(), dtype=torch.int64)
    shares = [batch.shard(rank, size) for rank in range(size)]
    for rank, share in enumerate(shares):
        cells = zigzag([*extents, gap], rank, size)
        seen[cells] += 1
        for name in CELLS:
            assert share[name].tolist() == [batch[name].flatten()[cells].tolist()]
            assert share[name].is_contiguous()
        following = [*batch["labels"].flatten().tolist()[1:], -100]
        assert share["shift_labels"].tolist() == [[following[cell] for cell in cells]]
        assert share.num_tokens == int((share["document_ids"] >= 0).sum())
        assert {k: v for k, v in share.items() if k.startswith("cu_")}.keys() == {
            k for k in batch if k.startswith("cu_")
        }
    assert seen.eq(1).all()
    assert sum(share.num_tokens for share in shares) == batch.num_tokens
    assert sum(share.num_supervised for share in shares) == batch.num_supervised


@pytest.mark.parametrize("layout", ["rows", "flat"])
@pytest.mark.parametrize("size", SIZES)
def test_shares_of_an_epoch_reassemble_and_work_alike(store, size, layout):
    multiple, length = 2 * size, 256 // (2 * size) * 2 * size
    dataset = PackedDataset(store, length=length, batch_size=2, overlong="split")
    with StreamLoader(dataset, PackingCollator(0, layout=layout, multiple_of=multiple)) as loader:
        batches = list(loader)
    assert sum(batch.num_tokens for batch in batches) == store.num_tokens
    work = np.zeros(size, np.int64)
    for batch in batches:
        assert batch["input_ids"].shape[-1] <= 2 * length if layout == "flat" else length
        place = batch.map_tensors(torch.clone)
        place["input_ids"] = torch.arange(batch["input_ids"].numel()).view_as(batch["input_ids"])
        shares = [place.shard(rank, size) for rank in range(size)]
        cells = torch.cat([share["input_ids"].flatten() for share in shares])
        for name in CELLS[1:]:
            whole = torch.empty_like(batch[name]).flatten()
            whole[cells] = torch.cat([share[name].flatten() for share in shares])
            assert whole.view_as(batch[name]).equal(batch[name])
        if layout == "flat":  # a cell attends to those before it in its padded document
            begins = torch.searchsorted(batch["cu_seqlens_padded"], cells.int(), right=True) - 1
            costs = cells - batch["cu_seqlens_padded"][begins] + 1
            work += costs.view(size, -1).sum(1).numpy()
    assert work.max() <= 1.01 * max(work.min(), 1) or layout == "rows"


@pytest.mark.parametrize("chosen", [{"layout": "rows"}, {"layout": "flat"}], ids=str)
def test_workers_and_devices_make_the_same_padded_batches(store, chosen):
    collator = PackingCollator(0, **chosen, multiple_of=8)
    streams = []
    for how in ({}, {"transfer": "ragged"}, {"num_workers": 2}):
        with StreamLoader(PackedDataset(store, length=256), collator, **how) as loader:
            streams.append([(content(batch), content(batch.shard(1, 2))) for batch in loader])
    assert streams[0] == streams[1] == streams[2]


def test_kernels_of_transformers_are_told_the_padded_places():
    batch = PackingCollator(0, layout="flat", keys="transformers", multiple_of=4)([[1, 2, 3], [4, 5, 6, 7, 8]])
    assert batch["cu_seq_lens_q"].tolist() == [0, 4, 12]
    assert batch["max_length_q"] == 8


def test_a_batch_of_fillers_can_be_split():
    batch = PackingCollator(9, layout="flat", multiple_of=4)(hand_made([], [0, 0], width=8))
    assert batch["input_ids"].tolist() == [[9, 9, 9, 9]]
    assert batch.shard(1, 2)["input_ids"].tolist() == [[9, 9]]


def test_padding_that_leaves_no_room_is_refused_before_the_first_batch(store):
    with pytest.raises(PlanError, match=r"length is 250: .* multiple_of=8 .* choose length=248 or 256"):
        StreamLoader(PackedDataset(store, length=250), PackingCollator(0, multiple_of=8))
    with pytest.raises(PlanError, match=r'strategy="wrap" fills packs to the last token'):
        PackedDataset(store, length=256, strategy="wrap").plan_for(PackingCollator(0, multiple_of=8))


def test_packs_that_were_not_planned_for_padding_are_refused():
    full = hand_made([[1, 2, 3], [4, 5, 6, 7, 8]], [0, 2], width=8)
    with pytest.raises(CollateError, match=r"more than its 8 cells when .* multiple_of=4: plan for it"):
        PackingCollator(0, multiple_of=4)(full)
    with pytest.raises(CollateError, match="a pack has 8 cells, no multiple of multiple_of=3"):
        PackingCollator(0, multiple_of=3)(full)


def test_what_cannot_be_split_is_refused():
    batch = PackingCollator(0, layout="flat", multiple_of=4)([[1, 2, 3]])
    with pytest.raises(CollateError, match=r"multiple_of=4 do not split in 6 chunks .* multiple_of=6"):
        batch.shard(0, 3)
    with pytest.raises(CollateError, match=r"cp_rank is 2: it must be an integer, from 0 to 1"):
        batch.shard(2, 2)
    with pytest.raises(CollateError, match=r"cp_size is 0"):
        batch.shard(0, 0)
    for other in (PackingCollator(0)([[1]]), PaddingCollator(0)([[1]]), batch.shard(0, 2)):
        with pytest.raises(CollateError, match=r"not padded to chunks: .* PackingCollator with multiple_of=4"):
            other.shard(0, 2)


def test_a_copy_of_a_batch_can_be_split_as_well():
    batch = PackingCollator(0, layout="flat", multiple_of=4)([[1, 2, 3]])
    assert content(batch.clone().shard(1, 2)) == content(batch.shard(1, 2))
    assert content(batch.to("cpu").shard(1, 2)) == content(batch.shard(1, 2))
    assert "shift_labels" not in batch


def test_staged_arrays_are_allocated():
    asked = []

    def allocate(wanted):
        asked.extend(wanted)
        return new_arrays(wanted)

    PackingCollator(0, layout="flat", multiple_of=4).stage([[1, 2, 3]], allocate)
    assert {"tokens", "documents", "cu_seqlens", "cu_seqlens_padded"} <= set(asked)
