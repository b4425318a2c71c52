"""torchdata: a `StreamLoader` is a source of `torchdata.nodes` as it is."""

from itertools import chain

import pytest
from tiny import COLLATE, STEPS, by_hand, dataset, ids_of

from fastcollate import StreamLoader

nodes = pytest.importorskip("torchdata.nodes", reason="pip install 'fastcollate[trainers]'")


def graph(rank):
    source = StreamLoader(dataset(rank=rank, world_size=2), COLLATE)
    return nodes.Loader(nodes.Prefetcher(nodes.IterableWrapper(source), prefetch_factor=4))


@pytest.mark.parametrize("step", [1, 17, STEPS])
def test_a_graph_over_a_stream_loader_delivers_two_orders_and_resumes_at_the_step(step):
    _, records = by_hand(2, steps=2 * STEPS)
    for rank in range(2):
        loader = graph(rank)
        assert [ids_of(batch) for batch in chain(loader, loader)] == records[rank]
        cut = graph(rank)
        batches = iter(cut)
        for _ in range(step):
            next(batches)
        resumed = graph(rank)
        resumed.load_state_dict(cut.state_dict())
        end = 2 * STEPS if step == STEPS else STEPS
        assert [ids_of(batch) for batch in resumed] == records[rank][step:end]
