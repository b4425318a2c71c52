"""What people bring that is not as it should be, or looks so: read as it is meant, or named with its place."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastcollate import InputError, LimitError, prepare

ASK, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
CHAT = {"messages": [ASK, ANSWER]}
TEXT = {"text": "a"}


@pytest.fixture
def make(tmp_path):
    """The store of a file, which is given as bytes, as text or as records."""

    def make(content, name="data.jsonl", **options):
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(json.dumps(record) + "\n" for record in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return prepare(path, tmp_path / "store", **{"encoding": "bytes", "workers": 1} | options)

    return make


def texts(store):
    return [store.text(i).removesuffix("<|endoftext|>") for i in range(len(store))]


# Read as it is meant


def test_nul_is_text(make):
    assert texts(make([{"text": "a\0b"}])) == ["a\0b"]


def test_numbers_as_strings_are_text(make):
    assert texts(make([{"text": "5"}, {"text": "007"}])) == ["5", "007"]


def test_numbers_of_a_table_are_the_text_that_was_written(make):
    assert texts(make("text\n5\n007\nNA\n", "data.csv")) == ["5", "007", "NA"]


def test_a_table_of_a_german_or_french_spreadsheet_is_read(make):
    store = make("\ufeffprompt;completion\r\n1,5 + 1?;2,5\r\n", "data.csv")
    assert texts(store) == ["1,5 + 1?2,5"]


@pytest.mark.parametrize("turns", [[ANSWER, ASK, ANSWER], [ASK, ASK, ANSWER], [ASK, ANSWER, ANSWER]])
def test_turns_stay_as_they_come(make, turns):
    store = make([{"messages": turns}])
    written = [f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns]
    assert texts(store) == ["".join(written)]


def test_nan_is_nothing_where_a_field_may_be_left_out(make):
    store = make('{"instruction": "i", "input": NaN, "output": "o"}\n')
    assert "### Input" not in store.text(0)


# Named with its place


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], '"messages" is empty: a conversation has at least one turn'),
        ([{"content": "q"}], 'messages[0] has no role (the message has "content"): give it "role" (or "from")'),
        ([ASK, {"role": "narrator", "content": "x"}], 'messages[1] has the unknown role "narrator": roles are '),
        ([ASK, {"role": "assistant", "content": None}], 'messages[1] ("assistant") has no content'),
        ([ASK, None], "messages[1] is None: a message is an object such as"),
        ("q", '"messages" is "q": it must be a list of messages, or the JSON of one'),
        (
            [{"role": "user", "content": [{"type": "image", "image": "x.png"}]}],
            'messages[0] has a part of type "image": only parts of text can be read; leave images',
        ),
    ],
)
def test_what_is_wrong_with_a_conversation_has_its_line(make, tmp_path, turns, message):
    with pytest.raises(InputError) as caught:
        make([CHAT, {"messages": turns}])
    assert str(caught.value).startswith(f"{tmp_path}/data.jsonl, line 2: {message}")
    assert caught.value.row == 2


def test_a_list_in_a_table_may_hold_nothing_and_is_named_by_its_record(tmp_path):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"messages": [[ASK, ANSWER], [ASK, None]]}), path)
    with pytest.raises(InputError, match=r"data.parquet, record 1: messages\[1\] is None: a message is an object"):
        prepare(path, tmp_path / "store", encoding="bytes", workers=1)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_type_that_changes_late_is_named_or_skipped(make, tmp_path, on_error):
    content = json.dumps(TEXT) + "\n"
    content = content * 30_000 + '{"text": 5}\n' + content * 9
    if on_error == "skip":
        store = make(content, on_error="skip")
        assert (len(store), store.manifest.rejected) == (30_009, {"not_string": 1})
        return
    with pytest.raises(InputError) as caught:
        make(content)
    assert str(caught.value) == (
        f'{tmp_path}/data.jsonl, line 30001: field "text" is of type int (5): template "text" takes strings; '
        "convert it first"
    )


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_another_shape_later_on_is_named_or_skipped(make, tmp_path, on_error):
    records = [TEXT, TEXT, {"instruction": "i", "output": "o"}]
    if on_error == "skip":
        store = make(records, on_error="skip")
        assert (store.manifest.rejected, store.manifest.noted) == ({"missing_field": 1}, {})
        return
    with pytest.raises(
        InputError, match=r'data.jsonl, line 3: field "text" is missing \(the record has "instruction"'
    ):
        make(records)


def test_as_many_of_two_shapes_are_said_to_be_different(make):
    with pytest.raises(InputError) as caught:
        make([CHAT, {"instruction": "i", "output": "o"}])
    assert str(caught.value) == (
        "the first records fit different templates, about as many each: chatml (messages) and alpaca "
        "(instruction, output): say which with template= (--template)"
    )


def test_keys_in_other_letters_are_near(make):
    with pytest.raises(InputError, match=r"the nearest are alpaca \(instruction, output\)"):
        make([{"Instruction": "i", "Output": "o"}])


def test_a_source_without_one_usable_record_says_what_is_wrong_with_the_first(make):
    with pytest.raises(InputError) as caught:
        make([{"messages": [ASK]}] * 2)
    assert str(caught.value) == (
        "the source holds no usable records (2 unsupervised); the first: nothing of it is a target: every part "
        "is empty or has weight 0"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"a": {"text": "x"}, "b": {"text": "y"}}',
            "holds one JSON object, whose values are the records: make lines of them by jq -c '.[]' ",
        ),
        (
            '{"text": ["x", "y"], "n": [1, 2]}',
            "holds one JSON object of columns, each a list: make records of them",
        ),
        (
            '["x", "y"]',
            "record 0: is of type str, not an object: every record is an object (a dict) of named fields",
        ),
        ("{'text': 'x'}", "not JSON (it is Python's own notation, with single quotes: write it by json.dumps)"),
        ('{"text": "x"} {"text": "y"}', "not JSON (several objects stand on one line: part them, by jq -c .)"),
        ('{"text": "x"}\r{"text": "y"}\r', "not JSON (its lines end in CR alone: convert them by tr"),
        (
            f'{{"text": "x", "n": {"9" * 5000}}}',
            "not JSON (an integer has more digits than any number that is meant)",
        ),
    ],
)
def test_a_file_that_is_laid_out_otherwise_says_how_to_mend_it(make, content, message):
    with pytest.raises(InputError) as caught:
        make(content, "data.json")
    assert message in str(caught.value)


def test_a_file_that_swells_is_stopped(make, monkeypatch):
    monkeypatch.setattr("fastcollate.storage.compressed._FREE_BYTES", 1 << 20)
    with pytest.raises(LimitError, match=r"data.jsonl.gz: more than 20 MiB come out of"):
        make(gzip.compress(b'{"text": "' + b"a" * (20 << 20), 9), "data.jsonl.gz")


def test_bad_files_among_many_are_counted_and_the_others_go_on(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    line = json.dumps(TEXT) + "\n"
    files = {
        "a.jsonl": line.encode(),
        "b.jsonl": b"",
        "c.jsonl": b"{",
        "d.parquet": b"PAR1 broken PAR1",
        "e.jsonl.gz": gzip.compress(line.encode() * 99)[:-9],
        "f.csv": b'text\n"open\n',
        "z.jsonl": line.encode() * 2,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    store = prepare(folder, tmp_path / "store", encoding="bytes", on_error="skip", workers=1)
    assert len(store) == 3
    assert store.manifest.rejected == {"no_records": 1, "not_json": 1, "damaged": 2, "bad_quote": 1}
    lines = map(json.loads, (tmp_path / "store/rejected.jsonl").read_text().splitlines())
    named = [(line["file"], line["reason"]) for line in lines]
    assert sorted(named) == [
        ("b.jsonl", "no_records"),
        ("c.jsonl", "not_json"),
        ("d.parquet", "damaged"),
        ("e.jsonl.gz", "damaged"),
        ("f.csv", "bad_quote"),
    ]
