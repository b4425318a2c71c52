"""`audit`: each planted fault is found, at the very records, and nothing else is."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from oracles import repeated_records, shares_of_targets
from planted import CHAT, END, asked, faulty, found, honest, row, turn, write

from fastcollate import EncodingError, InputError, TokenStore, audit
from fastcollate.tokenizers.tokenizer import Tokenizer


@pytest.mark.parametrize("layout", ["arrow", "npy"])
@pytest.mark.parametrize("per_shard", [1, 4, 100])
def test_planted_faults_are_found_at_their_records(tmp_path, layout, per_shard):
    records, faults = faulty()
    store = write(tmp_path / "store", records, layout=layout, per_shard=per_shard)
    assert found(audit(store, encoding=CHAT)) == faults


def test_a_path_is_as_good_as_a_store(tmp_path):
    store = write(tmp_path / "store", faulty()[0])
    whole = audit(store, encoding=CHAT).as_dict()
    assert audit(str(store.path), encoding=CHAT).as_dict() == audit(store.path, encoding=CHAT).as_dict() == whole
    json.dumps(whole, allow_nan=False)


def test_honest_records_have_no_fault(tmp_path):
    store = write(tmp_path / "store", [honest(i) for i in range(20)])
    audited = audit(store, encoding=CHAT, length=4096)
    assert (audited.findings, audited.left_out) == ((), ())
    assert "nothing was found" in str(audited)


def test_a_length_cuts_targets_wholly_or_partly(tmp_path):
    records = [
        [(1, False)] * 4 + [(2, True)] * 2 + [(END, True)],
        [(2, True), *[(1, False)] * 5, (END, True)],
        [(3, False)] * 6 + [(END, True), (4, False)],
        [(3, False)] * 3 + [(END, True)] + [(1, False)] * 9,
        [(5, False)] * 9,
    ]
    store = write(tmp_path / "store", records)
    cut = audit(store, encoding=CHAT, length=6).findings[1]
    assert (cut.kind, cut.records.tolist(), cut.share) == ("cut", [0, 1, 2], 0.6)
    assert "past token 6, where a loader of that length cuts: 1 lose all of them, 2 some" in cut.meaning
    assert "cut" not in found(audit(store, encoding=CHAT, length=7))
    bare = write(tmp_path / "bare", records, spans=False)
    assert found(audit(bare, encoding=CHAT, length=7))["cut"] == [2, 3, 4]
    with pytest.raises(InputError, match="length is 0"):
        audit(store, length=0)


def test_quick_reads_no_token_and_says_so(tmp_path):
    store = write(tmp_path / "store", faulty()[0])
    quick = audit(store, quick=True, encoding=CHAT)
    assert found(quick) == {"no_target": [1]}
    assert quick.left_out[0].startswith("the tokens were not read")
    whole = audit(store, encoding=CHAT).as_dict()
    same = {"findings", "left_out", "by_role"}
    assert {k: v for k, v in quick.as_dict().items() if k not in same} == {
        k: v for k, v in whole.items() if k not in same
    }


def test_without_a_tokenizer_less_is_found_and_that_is_said(tmp_path):
    store = write(tmp_path / "store", [*faulty()[0], [(1, False), (END, True)], [(END, False)] * 2 + [(2, True)]])
    audited = audit(store)
    assert found(audited) == {"no_target": [1], "end_only": [16], "doubled_bos": [17], "duplicate": [12, 14]}
    assert "give encoding (--encoding)" in audited.left_out[0]
    assert dict(audited.transcripts) == {}
    with pytest.raises(EncodingError, match="written with another encoding"):
        audit(store, encoding="bytes")


def test_a_view_has_numbers_of_its_own(tmp_path):
    store = write(tmp_path / "store", faulty()[0])
    parts = store.split({"first": 0.5, "second": None, "none": 0.0})
    assert found(audit(parts["second"], encoding=CHAT)) == {
        "open_turn": [6],
        "empty_reasoning": [0],
        "doubled_bos": [1],
        "control_text": [0, 2],
        "learnt_role": [3],
    }
    empty = audit(parts["none"], encoding=CHAT, length=3)
    assert (empty.records, empty.findings, empty.by_length, empty.longest) == (0, (), (), ())
    assert "records   0" in str(empty)
    shuffled = store.split({"some": 0.75, "rest": None}, seed=3)["some"]
    expected = [
        i for i, record in enumerate(shuffled) if record.tolist() in [r.tolist() for r in list(shuffled)[:i]]
    ]
    assert found(audit(shuffled, encoding=CHAT)).get("duplicate", []) == expected


def test_pairs_and_weights_are_counted_as_they_are(tmp_path):
    records = [row(asked(i // 2), turn("assistant", f"{'yes' * (i + 1)}", learnt=True)) for i in range(4)]
    weights = np.array([0.5, 1, 4, 1], np.float32)
    store = write(tmp_path / "store", records, group=np.array([0, 0, 1, 1]), weights=weights)
    audited = audit(store, encoding=CHAT)
    assert audited.findings == ()
    expected = [(2, 10, 40.0), (3, 13, 13.0), (1, 7, 7.0), (0, 4, 2.0)]
    assert [(heavy.record, heavy.targets, heavy.weight) for heavy in audited.heaviest] == expected
    assert sum(heavy.share for heavy in audited.heaviest) == pytest.approx(1)


def test_a_store_without_spans_learns_headers(tmp_path):
    store = write(tmp_path / "store", [honest(0), honest(1)], spans=False)
    audited = audit(store, encoding=CHAT)
    assert found(audited) == {"learnt_role": [0, 1]}
    assert audited.targets == audited.tokens


def test_large_vocabularies_and_text_without_turns(tmp_path):
    import tiktoken

    ranks = {bytes([byte]): byte for byte in range(256)} | {b"%d" % i: i for i in range(256, 70_000)}
    wide = tiktoken.Encoding(
        "wide", pat_str="(?s:.)", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 70_000}
    )
    records = [[(69_999, True), (70_000, True)], [(5, True), (69_998, True)], [(69_999, True), (70_000, True)]]
    store = write(tmp_path / "store", records, encoding=wide, template=None)
    assert store.manifest.dtype == "uint32"
    assert found(audit(store, encoding=wide)) == {"no_end": [1], "duplicate": [2]}


rows_of_few_tokens = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=4), min_size=1, max_size=40
)


@given(rows_of_few_tokens, st.sampled_from([1, 3, 50]))
def test_repeats_and_shares_are_those_of_the_oracles(tmp_path_factory, records, per_shard):
    store = write(tmp_path_factory.mktemp("any") / "store", records, per_shard=per_shard)
    audited = audit(store, encoding=CHAT)
    assert found(audited).get("duplicate", []) == repeated_records(records)
    bins = [(share.first, share.last) for share in audited.by_length]
    assert [tuple(share)[2:] for share in audited.by_length] == shares_of_targets(records, bins)
    bare = [i for i, record in enumerate(records) if not any(target for _, target in record[1:])]
    assert found(audited).get("no_target", []) == bare


def test_shares_by_role_are_those_of_the_turns(tmp_path):
    records = [honest(0), honest(1), row([(END, False)], asked(2), turn("robot", "hm", learnt=True))]
    roles = {
        share.role: tuple(share)[1:] for share in audit(write(tmp_path / "s", records), encoding=CHAT).by_role
    }
    assert roles == {
        "assistant": (2, 2 * (1 + 9 + 1 + 8 + 2), 2 * 9),
        "system": (2, 2 * (1 + 6 + 1 + 8 + 2), 0),
        "user": (3, 3 * (1 + 4 + 1 + 10 + 2), 0),
        "other": (1, 1 + 5 + 1 + 2 + 2, 3),
        "outside turns": (0, 1, 0),
    }


def test_progress_is_told_and_the_store_is_left_alone(tmp_path):
    store = write(tmp_path / "store", faulty()[0])
    before, told = store.fingerprint, []
    audit(store, encoding=CHAT, progress=told.append)
    assert (sum(told), TokenStore(store.path, verify="full").fingerprint) == (len(store), before)


def test_arguments_are_checked(tmp_path):
    with pytest.raises(InputError, match="store is a list: audit takes a TokenStore or the path of one"):
        audit([])
    with pytest.raises(InputError, match="quick is 1: it must be True or False"):
        audit(tmp_path, quick=1)
    assert not Path(tmp_path / "store").exists()


def letters(text):
    return [ord(letter) % 1000 for letter in text]


def test_a_function_is_a_tokenizer_too_and_what_it_lacks_is_said(tmp_path):
    records = [[(5, False), (7, True), (1000, True)], [(5, False), (7, True)]]
    plain = Tokenizer.from_callable(letters, vocab_size=1001, eot_token_id=1000)
    audited = audit(write(tmp_path / "plain", records, encoding=plain, template="text"), encoding=plain)
    assert found(audited) == {"no_end": [1]}
    (said,) = audited.left_out
    assert said.startswith('control_text and empty_reasoning were not looked for: "callable" cannot decode: give ')
    endless = Tokenizer.from_callable(letters, vocab_size=1001, decode=lambda ids: "".join(map(chr, ids)))
    audited = audit(write(tmp_path / "endless", records, encoding=endless, template="text"), encoding=endless)
    assert found(audited) == {}
    assert audited.left_out == (
        "no_end, end_only and open_turn were not looked for: the encoding has no end of a text",
    )


def test_a_line_break_after_the_end_may_be_learnt(tmp_path):
    answers = [turn("assistant", f"{i}", learnt=True) for i in range(2)]
    answers[1][-1] = (10, True)
    store = write(tmp_path / "store", [row(asked(i), answer) for i, answer in enumerate(answers)])
    assert audit(store, encoding=CHAT).findings == ()


def test_ids_in_a_gap_of_a_vocabulary_are_no_tokens(tmp_path):
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 300}
    gaps = tiktoken.Encoding(
        "gaps", pat_str="(?s:.)", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 310}
    )
    rows = [[97, 310], [256, 310], [97, 299, 310], [300, 310], [98, 309, 309, 310], [98, 301]]
    store = write(tmp_path / "store", [[(token, True) for token in ids] for ids in rows], encoding=gaps)
    assert found(audit(store, encoding=gaps))["unknown_id"] == [1, 2, 4, 5]


def test_a_function_may_have_tokens_without_bytes(tmp_path):
    sizes = np.array([0] + [1] * 999 + [0])
    padded = Tokenizer.from_callable(letters, vocab_size=1001, eot_token_id=1000, byte_lengths=sizes)
    store = write(tmp_path / "store", [[(0, True), (5, True), (1000, True)]], encoding=padded, template="text")
    assert found(audit(store, encoding=padded)) == {}


def test_an_audit_says_in_a_line_what_it_found(tmp_path):
    store = write(tmp_path / "store", [honest(0), honest(0), honest(1)])
    path = str(store.path)
    assert repr(audit(store, encoding=CHAT)) == f"Audit({path!r}, 3 records, found: duplicate 1)"
    assert repr(audit(store, quick=True)) == f"Audit({path!r}, 3 records, found: nothing)"
