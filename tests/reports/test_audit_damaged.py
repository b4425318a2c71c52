"""What no sound store has is found: empty spans do not count, odd weights and unknown ids are findings."""

import json

import numpy as np
import pytest
from planted import CHAT, asked, honest, row, turn, write

from fastcollate import Ragged, StoreWriter, audit, prepare


def found(audited):
    return {finding.kind: finding.records.tolist() for finding in audited.findings}


def test_empty_spans_are_no_targets(tmp_path):
    with StoreWriter(tmp_path / "store", encoding="bytes") as writer:
        rows = [[97, 256, 98, 98], [98, 97, 256, 98], [99, 97, 98, 98], [99, 98, 97, 256]]
        spans = [[0, 2, 4, 4], [0, 0, 1, 3], [4, 4], [0, 0, 3, 4]]
        writer.append(Ragged.from_rows(rows), Ragged.from_rows(spans, np.uint32))
    audited = audit(tmp_path / "store", length=3)
    assert found(audited) == {"no_target": [2], "cut": [3], "end_only": [3]}
    assert "1 lose all of them, 0 some" in audited.findings[1].meaning


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf, -1])
def test_weights_that_are_none_are_found_and_do_not_weigh(tmp_path, weight):
    records = [row(asked(i), turn("assistant", f"yes {i}", learnt=True)) for i in range(3)]
    store = write(tmp_path / "store", records, weights=np.array([1, weight, 0], np.float32))
    audited = audit(store, encoding=CHAT)
    assert found(audited) == {"no_target": [2], "bad_weight": [1]}
    assert [(heavy.record, heavy.share) for heavy in audited.heaviest] == [(0, 1.0)]
    json.dumps(audited.as_dict(), allow_nan=False)


def test_ids_that_are_no_tokens_are_found(tmp_path):
    store = prepare(
        [{"text": f"{i}"} for i in range(3)], tmp_path / "s", encoding="bytes", template="text", layout="npy"
    )
    (file,) = store.path.glob("*.input_ids.npy")
    data = bytearray(file.read_bytes())
    data[-2:] = (300).to_bytes(2, "little")
    draft = tmp_path / "draft"
    draft.write_bytes(data)
    draft.replace(file)
    assert found(audit(store.path)) == {"unknown_id": [2], "no_end": [2]}
    assert list(audit(store.path).transcripts) == [0]


def test_a_sound_store_has_none_of_these(tmp_path):
    assert found(audit(write(tmp_path / "store", [honest(0)]), encoding=CHAT, length=100)) == {}
