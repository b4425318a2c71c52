"""What every corpus and every dataset must keep, written once: exactly once, one stream, resumed everywhere."""

import json
from collections import defaultdict

import numpy as np
from batches import contents


def assert_exactly_once(make_rank, world_size, *, records=None, often=lambda _: 1):
    """Over all ranks each token of each record comes as often as it should; all ranks have as many batches.

    `make_rank(rank=, world_size=)` makes the dataset of a rank; `records` is how many records its corpus numbers,
    by default its length; `often(record)` is how often one comes.
    """
    ranks = [make_rank(rank=rank, world_size=world_size) for rank in range(world_size)]
    corpus, promised = ranks[0].corpus, [len(dataset) for dataset in ranks]
    streams = [list(dataset) for dataset in ranks]
    assert [len(stream) for stream in streams] == promised
    assert len(set(promised)) == 1
    pieces = defaultdict(list)
    for batch in (batch for stream in streams for batch in stream):
        begins = np.zeros(len(batch), np.int64) if batch.cuts is None else batch.cuts
        for row, record, begin in zip(batch, batch.record_ids.tolist(), begins.tolist(), strict=True):
            if record < 0:
                assert len(row) == 0
                continue
            np.testing.assert_array_equal(row, corpus[record][begin : begin + len(row)], strict=True)
            pieces[record].append((begin, len(row)))
    assert sorted(pieces) == list(range(len(corpus) if records is None else records))
    for record, found in pieces.items():
        seen = np.zeros(len(corpus[record]), np.int64)
        for begin, length in found:
            seen[begin : begin + length] += 1
        assert (seen == often(record)).all(), f"record {record} came as {sorted(found)}"


def assert_same_stream(found, expected):
    """Two streams of batches hold the same, to the last token and number."""
    theirs = contents(expected)
    assert len(theirs) > 0
    assert contents(found) == theirs


def assert_resumes_everywhere(make, *, epochs=(0, 1)):
    """From every state of an epoch a new dataset delivers the rest of it, and from the last one the next epoch.

    `make()` makes a dataset; states go through JSON, as in a checkpoint.
    """
    for epoch in epochs:
        whole, model = make(), make()
        whole.set_epoch(epoch)
        model.set_epoch(epoch)
        everything, following = contents(model), contents(model)
        assert len(everything) > 0
        iterator = iter(whole)
        for taken in range(len(everything) + 1):
            text = json.dumps(whole.state_dict())
            assert len(text) < 4096
            resumed = make()
            resumed.load_state_dict(json.loads(text))
            assert contents(resumed) == (everything[taken:] or following)
            next(iterator, None)
