"""Which targets teach nothing, or are cut: the first token, white space, and those past a length."""

import pytest
from planted import CHAT, END, NAMES, START, asked, found, row, spans_of, turn, write

from fastcollate import audit


@pytest.mark.parametrize("shift", [False, True])
def test_a_length_is_what_a_collator_keeps(tmp_path, shift):
    pytest.importorskip("torch")
    from fastcollate import PaddingCollator

    records = [[(1, False)] * 3 + [(2, True)] * targets for targets in range(1, 6)]
    store = write(tmp_path / "store", records)
    for max_length in range(1, 9):
        whole, cut = (PaddingCollator(0, max_length=most, shift_labels=shift) for most in (None, max_length))
        rows = [{"input_ids": [token for token, _ in record], "spans": spans_of(record)} for record in records]
        lost = [i for i, row in enumerate(rows) if cut([row]).num_supervised < whole([row]).num_supervised]
        assert found(audit(store, encoding=CHAT, length=max_length + shift)).get("cut", []) == lost


@pytest.mark.parametrize("per_shard", [1, 2, 100])
def test_a_first_token_alone_is_no_target(tmp_path, per_shard):
    mine = [[(END, True)], [(5, True), (END, False)], [(5, False), (END, True)], [(5, True), (END, True)]]
    store = write(tmp_path / "store", mine, per_shard=per_shard)
    quick = audit(store, quick=True)
    assert found(quick) == {"no_target": [0, 1]}
    assert "the first token, which nothing predicts" in quick.findings[0].meaning
    part = store.split({"some": 0.75, "rest": None}, seed=1)["some"]
    alone = [i for i in range(len(part)) if part[i].tolist() == [END] or part.spans(i).tolist() == [[0, 1]]]
    assert found(audit(part, quick=True)).get("no_target", []) == alone
    bare = write(tmp_path / "bare", mine, per_shard=per_shard, spans=False)
    assert found(audit(bare, quick=True)) == {"no_target": [0]}


@pytest.mark.parametrize("encoding", [CHAT, "bytes"], ids=["marks are tokens", "marks are letters"])
def test_an_answer_of_white_space_is_empty(tmp_path, encoding):
    answers = ["", "\n", " \n ", "\n" * 4, "\nyes", "", "\n" * 14]
    records = [
        row(asked(i), turn("assistant", text, learnt=True), [(END, True)] * (i == 5))
        for i, text in enumerate(answers)
    ]
    for record in records[:5]:
        record[-1] = (10, True)  # the line break after the end
    records.append(row(asked(7), turn("assistant", "\n", learnt=True, closed=False)))
    records[1][records[1].index((START, False), 1) + 10] = (10, True)  # the line break of the header
    if encoding == "bytes":
        records = [[pair for token, learnt in record for pair in in_letters(token, learnt)] for record in records]
    store = write(tmp_path / "store", records, encoding=encoding)
    assert found(audit(store, encoding=encoding))["end_only"] == [0, 1, 2, 5]


def in_letters(token, learnt):
    """A token as (byte, target) pairs: control tokens are letters, but for the end of a text."""
    if token == END:
        return [(256, learnt)]
    return [(letter, learnt) for letter in (NAMES[token - 256].encode() if token > 255 else [token])]
