"""Bad input is named, with its address and the fix, and leaves nothing at the output."""

import json
import os
from pathlib import Path

import pytest

from fastcollate import EncodingError, InputError, PromptTemplate, StoreWriteError, WorkerError, prepare
from fastcollate.templates.fields import Part
from fastcollate.templates.segments import Document, Segment

ROOT = Path(__file__).parents[2]
GOOD = {"prompt": "2+2=", "completion": "4"}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "store"


@pytest.fixture
def source(tmp_path):
    def write(content, name="data.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(kind, message, source, out, **options):
    """The error of `prepare`, after checking its message and that nothing is left."""
    options = {"encoding": "bytes", "template": "prompt_completion"} | options
    with pytest.raises(kind, match=message) as caught:
        prepare(source, out, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return caught.value


# The source


def test_a_missing_file_is_named(tmp_path, out):
    path = tmp_path / "gone.json"
    error = refused(InputError, rf"{path}: no such file: check the path", path, out)
    assert (error.path, error.reason) == (str(path), "not_found")


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_an_empty_file_is_named(source, out, content):
    path = source(content)
    assert refused(InputError, rf"{path}: holds no records \(it is empty\)", path, out).path == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "instruction,output\n",
            r"data.jsonl, line 1, column 1: not JSON \(Expecting value\): a file holds one JSON",
        ),
        (json.dumps(GOOD) + "\n{'a': 1}\n", r"data.jsonl, line 2: not JSON .it is Python's own notation"),
        ('[{"prompt": "a"', r"data.jsonl: the JSON array is cut short at byte 15 of the file"),
        (b'{"prompt": "\xe9"}', r"data.jsonl, line 1: not UTF-8 at byte 12 of the file: save it as UTF-8"),
        (json.dumps([GOOD, 7]), r"data.jsonl, record 1: is of type int, not an object: every record is an object"),
        (json.dumps([["a"]]), r"data.jsonl, record 0: is of type list, not an object"),
    ],
)
def test_what_is_no_json_of_objects_is_named(source, out, content, message):
    refused(InputError, message, source(content), out)


@pytest.mark.parametrize("wrong", [None, 5, b"data.json", {"prompt": "a"}])
def test_what_is_no_source_is_refused(out, wrong):
    message = f"the source is of type {type(wrong).__name__}: give a path, a glob, a URL, a list of these"
    assert refused(InputError, message, wrong, out).reason == "bad_source"


def test_nothing_usable_is_an_error_that_says_why(source, out):
    assert refused(InputError, r"no usable records \(it is empty\)", [], out).reason == "empty"
    path = source('{"prompt": 1}\n' + json.dumps({"prompt": "a", "completion": 2}) + "\n")
    refused(InputError, r"no usable records \(2 not_string\)", path, out, on_error="skip")


# A record


@pytest.mark.parametrize(
    ("record", "reason", "message"),
    [
        (
            {"prompt": "a"},
            "missing_field",
            'field "completion" is missing .*template "prompt_completion" needs it',
        ),
        ({"prompt": None, "completion": ""}, "missing_field", 'field "prompt" is null: .* say which key holds it'),
        (
            {"prompt": "a", "completion": 4},
            "not_string",
            r'field "completion" is of type int \(4\): .*convert it first',
        ),
        ({"prompt": ["a"], "completion": ""}, "not_string", 'field "prompt" is of type list .*takes strings'),
    ],
)
def test_a_record_without_a_text_is_named_by_path_and_number(source, out, record, reason, message):
    lines = source("\n".join(["", json.dumps(GOOD), json.dumps(record), json.dumps(GOOD)]))
    error = refused(InputError, rf"{lines}, line 3: {message}", lines, out)
    assert (error.path, error.row, error.reason) == (str(lines), 3, reason)
    array = source(json.dumps([GOOD, record]), "data.json")
    error = refused(InputError, rf"{array}, record 1: {message}", array, out)
    assert (error.path, error.row, error.reason) == (str(array), 1, reason)
    error = refused(InputError, rf"record 1 of the given iterable: {message}", [GOOD, record], out)
    assert (error.path, error.row, error.reason) == (None, 1, reason)


def test_a_record_without_tokens_is_named(out):
    records = [GOOD, {"prompt": "", "completion": ""}]
    message = "record 1 of the given iterable: it has no tokens: leave it out, or set append_eot"
    assert refused(InputError, message, records, out, append_eot=False).reason == "empty"


def test_a_record_that_is_too_long_is_named(out):
    records = [GOOD, {"prompt": "a" * 9, "completion": "b"}, GOOD]
    message = "record 1 of the given iterable: it has 11 tokens, more than max_length=10"
    assert refused(InputError, message, records, out, max_length=10, overlong="error").reason == "overlong"


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output": "answer"}, r'template "prompt_completion" has no field "output": .*\(prompt, completion\)'),
        ({"prompt": 5}, r'fields\["prompt"\] is 5: it must be a key of the records, a string'),
    ],
)
def test_fields_that_do_not_fit_the_template_are_refused(out, fields, message, on_error):
    refused(InputError, message, [GOOD], out, fields=fields, on_error=on_error)


class Plain:
    name, fingerprint = "plain", "0" * 64

    def documents(self, record):
        return [Document([Segment(record["prompt"])])]


def test_fields_rename_those_of_a_prompt_template_only(out):
    message = r'fields= was given with template "plain", which has no fields: rename the keys of the records'
    refused(InputError, message, [GOOD], out, template=Plain(), fields={"prompt": "a"})


# The arguments


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (InputError, {"template": "alpacca"}, 'template "alpacca" is unknown: use one of .*did you mean "alpaca"'),
        (
            EncodingError,
            {"encoding": "gpt5"},
            "encoding 'gpt5' is unknown: use one of bytes, .*or a tiktoken.Encoding",
        ),
        (
            InputError,
            {"template": 3},
            "template 3 is unknown: use one of alpaca, .*or a PromptTemplate of your own",
        ),
        (InputError, {"max_length": 0}, "max_length is 0: it must be an integer, at least 1"),
        (InputError, {"max_length": -3}, "max_length is -3: it must be an integer, at least 1"),
        (InputError, {"workers": 0}, "workers is 0: it must be an integer, at least 1"),
        (InputError, {"workers": True}, "workers is True: it must be an integer, at least 1"),
        (InputError, {"timeout": 0}, "timeout is 0: it must be an integer, at least 1"),
        (InputError, {"append_eot": 1}, "append_eot is 1: it must be True or False"),
        (InputError, {"layout": "parquet"}, "layout is 'parquet': it must be 'arrow' or 'npy'"),
        (InputError, {"engine": "threads"}, "engine is 'threads': it must be 'local' or 'ray'"),
        (
            InputError,
            {"overlong": "cut"},
            "overlong is 'cut': it must be 'truncate', 'keep_end', 'cut_prompt', 'drop' or 'error'",
        ),
        (InputError, {"on_error": "ignore"}, "on_error is 'ignore': it must be 'raise' or 'skip'"),
        (InputError, {"records_per_shard": 0}, "records_per_shard is 0: it must be an integer, at least 1"),
    ],
)
def test_a_wrong_argument_is_named_with_its_rule(out, kind, options, message):
    refused(kind, message, [GOOD], out, **options)


# The output


def test_an_output_that_holds_something_else_is_left_alone(out):
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(StoreWriteError, match=r"already holds 'thesis.txt': a store needs a directory of its own"):
        prepare([GOOD], out, encoding="bytes", template="prompt_completion")
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]


def test_an_output_that_is_a_store_or_a_file_is_left_alone(out, source):
    options = {"encoding": "bytes", "template": "prompt_completion"}
    store = prepare([GOOD], out, **options)
    with pytest.raises(StoreWriteError, match="already holds a store: remove it or choose another directory"):
        prepare([GOOD, GOOD], out, **options)
    store.verify()
    with pytest.raises(StoreWriteError, match="is a file: a store is a directory"):
        prepare([GOOD], source("text"), **options)


def test_an_interrupted_source_leaves_nothing(out):
    def interrupted():
        yield from [GOOD] * 3000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(interrupted(), out, encoding="bytes", template="prompt_completion", records_per_shard=100)
    assert not out.exists()


def test_an_error_of_progress_is_the_callers_own_and_leaves_nothing(out):
    def stop(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        prepare([GOOD] * 3000, out, encoding="bytes", template="prompt_completion", progress=stop, workers=2)
    assert not out.exists()


# Workers


def test_a_bad_record_in_a_worker_is_named(source, out):
    lines = [json.dumps(GOOD)] * 6000
    lines[2499] = '{"prompt": "a", "completion": null}'
    path = source("\n".join(lines))
    message = rf'{path}, line 2500: field "completion" is null'
    error = refused(InputError, message, path, out, workers=2, records_per_shard=100)
    assert (error.path, error.row, error.reason) == (str(path), 2500, "missing_field")


class Deadly(str):
    """A name that ends the process it travels to, as running out of memory would."""

    __slots__ = ()

    def __reduce__(self):
        return os._exit, (1,)


def test_a_worker_that_dies_is_our_error(out):
    template = PromptTemplate(Deadly("deadly"), (Part("{prompt}"), Part("{completion}", supervised=True)))
    message = r"a worker process died: .*set workers=1 to stay in one process"
    refused(WorkerError, message, [GOOD] * 3000, out, workers=2, template=template)
