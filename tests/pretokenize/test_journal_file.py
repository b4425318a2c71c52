"""A journal that is written while work goes on: nothing is on its way any more once it was waited for."""

import threading
import time

import pytest

from fastcollate import StorageError
from fastcollate.pretokenize.parts.journal import Begun, read_journal
from fastcollate.pretokenize.parts.writing import Finished
from fastcollate.pretokenize.places import journal_file
from fastcollate.store.shards.entries import FileEntry, ShardEntry
from fastcollate.store.shards_writer import Written


def finished(number):
    shard = ShardEntry(1, 1, 0, "", {}, [FileEntry(f"{number}.arrow", 1, "")])
    return Finished(number, str(number), [], 1, 1, Written(False, {}, [shard], []), {}, {}, "", 0)


def test_after_a_disk_that_fails_the_others_are_waited_for_too(tmp_path, monkeypatch):
    both_are_added = threading.Event()

    def bring(path):
        both_are_added.wait()
        if path.name == "0.arrow":
            raise StorageError("the disk failed")
        time.sleep(0.2)

    monkeypatch.setattr(journal_file, "make_durable", bring)
    journal, begun = journal_file.JournalFile(tmp_path), Begun({}, 2, 0)
    for number in (0, 1):
        journal.add(begun, finished(number))
    both_are_added.set()
    with pytest.raises(StorageError, match="the disk failed"):
        journal.wait()
    assert journal.durable == {"1.arrow"}
    assert read_journal(tmp_path / "journal.jsonl") == (begun, [finished(1)])
    journal.wait()
    journal.close()
