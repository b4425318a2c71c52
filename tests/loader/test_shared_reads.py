"""Counts that workers add to, and what the process that reads them takes."""

import pytest
import torch

from fastcollate.loader.shared_reads import SharedReads
from fastcollate.storage.read_counts import ReadCounts


def read(shared, worker):
    counts = shared.of(worker)
    counts += ReadCounts(10, 20, 3, 0.5)
    counts += ReadCounts(1, 2, 0, 0.25)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_what_several_processes_read_is_taken_once(method):
    shared = SharedReads.of_workers(2)
    assert shared.take() == ReadCounts()
    context = torch.multiprocessing.get_context(method)
    for _ in range(2):  # workers that read epoch after epoch go on where they were
        processes = [context.Process(target=read, args=(shared, worker)) for worker in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        assert shared.take() == ReadCounts(22, 44, 6, 0.75)
    assert shared.take() == ReadCounts()
