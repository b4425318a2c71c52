"""`prepare`: what becomes of records, whoever encodes them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import contents

from fastcollate import EncodingError, InputError, PromptTemplate, TokenStore, load_encoding, prepare
from fastcollate.pretokenize import work
from fastcollate.templates.fields import Part
from fastcollate.templates.segments import Document, Segment

DATA = Path(__file__).parents[3] / "shared/data"
SHORT = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
PAIRS = [
    {"prompt": "2+2=", "completion": "4"},
    {"prompt": "", "completion": "hi"},
    {"prompt": "é", "completion": "ü"},
]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def gpt2():
    try:
        return load_encoding("gpt2")
    except EncodingError as error:
        pytest.skip(str(error))


def data_file(name):
    if not (DATA / name).exists():
        pytest.skip(f"needs {name}")
    return DATA / name


def lists(store):
    return [(store[i].tolist(), store.spans(i).tolist()) for i in range(len(store))]


# The slow way: a record as a prompt and a response


def split_text(record, template):
    if template == "prompt_completion":
        return record["prompt"], record["completion"]
    if template == "text":
        return "", record["text"]
    asked = f"\n\n### Instruction:\n{record['instruction']}"
    asked += f"\n\n### Input:\n{record['input']}" if record.get("input") else ""
    header = "\n\n### Response:\n"
    if template == "alpaca":
        return SHORT + asked, header + record["output"]
    return (PAIRED if record.get("input") else SHORT) + asked + header, record["output"]


def encode_slowly(record, template, encoding, eot):
    """(tokens, spans) of one record: a token is supervised if any of its bytes is of the response."""
    prompt, response = split_text(record, template)
    tokens = encoding.encode(prompt + response).tolist()
    starts = np.cumsum([0, *encoding.byte_lengths()[tokens]]).tolist()
    learned = [p for p in range(len(tokens)) if starts[p + 1] > len(prompt.encode())]
    if eot is not None:
        tokens, learned = [*tokens, eot], [*learned, *([len(tokens)] if response else [])]
    return tokens, [[learned[0], learned[-1] + 1]] if learned else []


def cut_slowly(tokens, spans, limit):
    return tokens[:limit], [[start, min(stop, limit)] for start, stop in spans if start < limit]


# The notebook's records


@pytest.mark.parametrize(("append_eot", "tokens"), [(False, 62_025), (True, 63_125)])
def test_the_notebooks_records_have_the_notebooks_tokens(out, gpt2, append_eot, tokens):
    store = prepare(data_file("instruction-data.json"), out, append_eot=append_eot)
    assert (len(store), store.num_tokens, store.eot_token_id) == (1100, tokens, 50_256)
    assert (store.lengths.min(), store.lengths.max()) == (40 + append_eot, 91 + append_eot)
    assert [len(part) for part in store.split({"a": 0.85, "b": 0.10, "c": None}).values()] == [935, 110, 55]
    if not append_eot:
        assert any(store.spans(i).tolist() == [[47, 62]] for i in np.flatnonzero(store.lengths == 62))


@pytest.mark.parametrize("template", ["alpaca", "stanford_alpaca"])
@pytest.mark.parametrize("append_eot", [False, True])
def test_instructions_equal_the_slow_way(out, gpt2, template, append_eot):
    records = json.loads(data_file("instruction-data.json").read_bytes())[::7]
    store = prepare(records, out, template=template, append_eot=append_eot, records_per_shard=64)
    eot = 50_256 if append_eot else None
    assert lists(store) == [encode_slowly(record, template, gpt2, eot) for record in records]
    assert store.text(3).startswith("".join(split_text(records[3], template)))


def test_fields_say_where_things_are(out, gpt2):
    source = data_file("gsm8k_train.jsonl")
    store = prepare(
        source, out, template="prompt_completion", fields={"prompt": "question", "completion": "answer"}
    )
    assert len(store) == 7473
    lines = source.read_text("utf-8").splitlines()
    for i in range(0, 7473, 500):
        record = json.loads(lines[i])
        pair = {"prompt": record["question"], "completion": record["answer"]}
        assert (store[i].tolist(), store.spans(i).tolist()) == encode_slowly(
            pair, "prompt_completion", gpt2, 50_256
        )
        assert store.source_row(i) == i


# Any records


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.text(max_size=6), st.text(min_size=1, max_size=6)), min_size=1, max_size=6),
    st.booleans(),
    st.none() | st.integers(1, 14),
    st.sampled_from(["truncate", "drop"]),
)
def test_lengths_ends_and_spans_equal_the_slow_way(tmp_path_factory, pairs, append_eot, max_length, overlong):
    records = [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
    eot = 256 if append_eot else None
    expected = [encode_slowly(record, "prompt_completion", load_encoding("bytes"), eot) for record in records]
    limit = 1000 if max_length is None else max_length
    kept = [pair for pair in expected if len(pair[0]) <= limit]
    if overlong == "truncate":
        kept = [cut_slowly(*pair, limit) for pair in expected]
    out = tmp_path_factory.mktemp("any") / "store"
    options = {
        "encoding": "bytes",
        "template": "prompt_completion",
        "append_eot": append_eot,
        "unsupervised": "keep",
    }
    if kept:
        store = prepare(records, out, max_length=max_length, overlong=overlong, **options)
        assert lists(store) == kept
        dropped = len(expected) - len(kept)
        assert store.manifest.rejected == ({"overlong": dropped} if dropped else {})
    else:
        with pytest.raises(InputError, match=f"no usable records \\({len(records)} overlong\\)"):
            prepare(records, out, max_length=max_length, overlong=overlong, **options)


def test_a_control_token_in_a_text_stays_text(out):
    store = prepare([{"text": "<|endoftext|>"}], out, encoding="bytes", template="text")
    assert lists(store) == [([*b"<|endoftext|>", 256], [[0, 14]])]


def test_a_template_of_ones_own_may_have_several_supervised_parts(out):
    parts = (
        Part("Q{q}"),
        Part("A{a}", supervised=True),
        Part("|"),
        Part("B{b}", supervised=True, when="b"),
        Part("."),
    )
    records = [{"q": "1", "a": "2", "b": "3"}, {"q": "", "a": ""}]
    store = prepare(records, out, encoding="bytes", template=PromptTemplate("quiz", parts))
    assert [store.text(i) for i in range(2)] == ["Q1A2|B3.<|endoftext|>", "QA|.<|endoftext|>"]
    assert [store.spans(i).tolist() for i in range(2)] == [[[2, 4], [5, 7], [8, 9]], [[1, 2], [4, 5]]]
    assert store.manifest.template == "quiz"


class Twice:
    """Two documents of every record, or none."""

    name, fingerprint = "twice", "0" * 64

    def documents(self, record):
        return [Document([Segment(record["text"]), Segment("!", 1.0)])] * record["times"]


def test_a_template_may_give_any_number_of_documents(out):
    records = [{"text": "a", "times": 2}, {"text": "b", "times": 0}, {"text": "cc", "times": np.int64(1)}]
    store = prepare(records, out, encoding="bytes", template=Twice(), append_eot=False, workers=np.int64(1))
    assert [store.text(i) for i in range(len(store))] == ["a!", "a!", "cc!"]
    assert [store.source_row(i) for i in range(3)] == [0, 0, 2]
    assert [store.spans(i).tolist() for i in range(3)] == [[[1, 2]], [[1, 2]], [[2, 3]]]


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_every_kind_of_source_gives_the_same_bytes(tmp_path, layout):
    lines = [json.dumps(pair) for pair in PAIRS]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:2]))
    (tmp_path / "b.jsonl").write_text(lines[2] + "\n")
    (tmp_path / "all.json").write_text(json.dumps(PAIRS))
    sources = {
        "dicts": PAIRS,
        "generator": (pair for pair in PAIRS),
        "array": tmp_path / "all.json",
        "glob": str(tmp_path / "?.jsonl"),
        "paths": [tmp_path / "a.jsonl", str(tmp_path / "b.jsonl")],
    }
    options = {"encoding": "bytes", "template": "prompt_completion", "layout": layout, "records_per_shard": 2}
    found = {}
    for name, source in sources.items():
        prepare(source, tmp_path / name, **options)
        found[name] = contents(tmp_path / name)
    assert all(content == found["dicts"] for content in found.values())
    assert len(found["dicts"]) == (5 if layout == "arrow" else 15)


# Whoever encodes them


def many_records(count=3000):
    return [{"prompt": f"{i}+1=", "completion": "x" * (i % 17) + str(i + 1)} for i in range(count)]


@pytest.mark.parametrize("layout", ["arrow", "npy"])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, monkeypatch, layout):
    records = many_records()
    records[1500] = {"prompt": "no completion"}
    counts = [1, 2, 3] if layout == "arrow" else [1, 2]
    found, seen = [], []
    for workers in counts:
        monkeypatch.setattr(work, "_ALONE_SECONDS", 0 if workers == 3 else None)  # 0: this process works too
        done = []
        options = {
            "encoding": "bytes",
            "template": "prompt_completion",
            "layout": layout,
            "records_per_shard": 700,
        }
        prepare(
            records,
            tmp_path / str(workers),
            workers=workers,
            on_error="skip",
            max_length=20,
            progress=done.append,
            **options,
        )
        found.append(contents(tmp_path / str(workers)))
        seen.append(sum(done))
    assert all(content == found[0] for content in found)
    assert seen == [2999] * len(counts)
    store = TokenStore(tmp_path / "2", verify="full")
    assert store.manifest.rejected == {"missing_field": 1}
    assert [store.source_row(i) for i in (0, 1499, 1500, -1)] == [0, 1499, 1501, 2999]


def test_little_work_starts_no_processes(out, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(work, "_ALONE_SECONDS", 60)
    monkeypatch.setattr("subprocess.Popen", refuse)
    options = {"encoding": "bytes", "template": "prompt_completion"}
    assert len(prepare(many_records(), out, **options)) == 3000
    assert len(prepare(many_records(), out.with_name("two"), workers=2, **options)) == 3000
    monkeypatch.setattr(work, "_ALONE_SECONDS", None)
    with pytest.raises(AssertionError):
        prepare(many_records(), out.with_name("pool"), workers=2, **options)


def test_skipped_records_are_counted_by_reason(tmp_path):
    lines = [
        '{"text": "good"}',
        "oops",
        '{"text": 5}',
        '{"txt": "a"}',
        "[1]",
        '{"text": "much too long"}',
        '{"text": ""}',
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    options = {"encoding": "bytes", "template": "text", "append_eot": False, "max_length": 5, "on_error": "skip"}
    for overlong in ("error", "drop"):
        store = prepare(tmp_path / "data.jsonl", tmp_path / overlong, overlong=overlong, **options)
        assert [store.text(i) for i in range(len(store))] == ["good"]
        reasons = ["empty", "missing_field", "not_json", "not_object", "not_string", "overlong"]
        assert store.manifest.rejected == dict.fromkeys(reasons, 1)


def test_progress_counts_every_record(out):
    done = []
    prepare(many_records(2500), out, encoding="bytes", template="prompt_completion", progress=done.append)
    assert done == [1024, 1024, 452]
