"""Layouts of the sets that people fine-tune on: each is read as it is meant, or refused with what to do."""

import json
from itertools import chain

import pytest

from fastcollate import InputError, prepare

LINE = "Below is an instruction that describes a task"
SHORT = f"{LINE}. Write a response that appropriately completes the request.\n\n### Instruction:\n"
PAIRED = (
    f"{LINE}, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
CALL = {"type": "function", "function": {"name": "get", "arguments": "{}"}}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"


def said(*texts, roles=("user", "assistant"), **names):
    """Messages of a user and an assistant in turn."""
    role, content = names.get("role", "role"), names.get("content", "content")
    return [{role: roles[i % 2], content: text} for i, text in enumerate(texts)]


def shared(*texts):
    return said(*texts, roles=("human", "gpt"), role="from", content="value")


def chat(*texts, learnt=True):
    """A conversation in chatml; what is learnt stands in brackets."""
    around = ("<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n[{}<|im_end|>]\n")
    return "".join(around[i % 2].format(text) for i, text in enumerate(texts)) + ("[$]" if learnt else "")


SYSTEM = "<|im_start|>system\ns<|im_end|>\n"
READ = {
    "alpaca": (
        {"instruction": "I", "input": "", "output": "O", "text": f"{SHORT}I\n\n### Response:\nO"},
        [f"{SHORT}I[\n\n### Response:\nO$]"],
    ),
    "alpaca with history": (
        {"instruction": "I", "input": "i", "output": "O", "system": "", "history": [["a", "b"]]},
        [f"{SHORT}I\n\n### Input:\ni[\n\n### Response:\nO$]"],
    ),
    "dolly": (
        {"instruction": "I", "context": "C", "response": "R", "category": "qa"},
        [f"{PAIRED}I\n\n### Input:\nC\n\n### Response:\n[R$]"],
    ),
    "wizardlm": ({"idx": 1, "instruction": "I", "output": "O"}, [f"{SHORT}I[\n\n### Response:\nO$]"]),
    "self-instruct": (
        {"id": "seed_0", "instruction": "I", "instances": [{"input": "i", "output": "o"}]},
        [f"{PAIRED}I\n\n### Input:\ni\n\n### Response:\n[o$]"],
    ),
    "gsm8k": ({"question": "q", "answer": "a\n#### 3"}, ["q\n[a\n#### 3$]"]),
    "metamath": ({"type": "GSM", "query": "q", "original_question": "o", "response": "r"}, ["q\n[r$]"]),
    "orca": ({"id": "1", "system_prompt": "s", "question": "q", "response": "r"}, ["s\n\nq\n[r$]"]),
    "orca without a system": ({"system_prompt": "", "question": "q", "response": "r"}, ["q\n[r$]"]),
    "code-alpaca": ({"prompt": "q", "completion": "a"}, ["q[a$]"]),
    "kto": ({"prompt": "q", "completion": "a", "label": True}, ["q[a$]"]),
    "helpsteer": ({"prompt": "q", "response": "a", "helpfulness": 4}, ["q[a$]"]),
    "guanaco": ({"text": "### Human: q### Assistant: a"}, ["[### Human: q### Assistant: a$]"]),
    "vicuna": ({"id": "x", "conversations": shared("q", "a", "r", "b")}, [chat("q", "a", "r", "b")]),
    "slimorca": (
        {
            "conversations": [
                {"from": "system", "value": "s", "weight": 0},
                {"from": "human", "value": "q", "weight": 0},
                {"from": "gpt", "value": "a", "weight": 1},
            ]
        },
        [SYSTEM + chat("q", "a")],
    ),
    "openhermes": (
        {"system_prompt": None, "title": None, "conversations": [{**m, "weight": None} for m in shared("q", "a")]},
        [chat("q", "a")],
    ),
    "ultrachat-200k": ({"prompt": "q", "prompt_id": "h", "messages": said("q", "a")}, [chat("q", "a")]),
    "magpie": (
        {"uuid": "1", "instruction": "q", "response": "a", "conversations": shared("q", "a")},
        [chat("q", "a")],
    ),
    "tulu": ({"id": "1", "messages": said("q", "a"), "dataset": "flan"}, [chat("q", "a")]),
    "lmsys": ({"conversation_id": "1", "conversation": said("q", "a"), "turn": 1}, [chat("q", "a")]),
    "lima": ({"conversations": ["q", "a"], "source": "x"}, [chat("q", "a")]),
    "capybara": (
        {"source": "x", "conversation": [{"input": "q", "output": "a"}, {"input": "r", "output": "b"}]},
        [chat("q", "a", "r", "b")],
    ),
    "openai with a weight": (
        {"messages": [*said("q"), {"role": "assistant", "content": "bad", "weight": 0}, *said("r", "good")]},
        ["<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nbad<|im_end|>\n" + chat("r", "good")],
    ),
    "messages as json": ({"messages": json.dumps(said("q", "a"))}, [chat("q", "a")]),
    "trl": ({"prompt": said("q"), "completion": said("q", "a")[1:]}, [chat("q", "a")]),
    "trl as json": (
        {"prompt": json.dumps(said("q")), "completion": json.dumps(said("q", "a")[1:])},
        [chat("q", "a")],
    ),
    "trl where the prompt has an answer": (
        {"prompt": said("q", "a", "r"), "completion": said("r", "b")[1:]},
        [chat("q", "a", learnt=False).replace("[", "").replace("]", "") + chat("r", "b")],
    ),
    "trl of preferences": (
        {"prompt": said("q"), "chosen": said("q", "a")[1:], "rejected": said("q", "b")[1:]},
        [chat("q", "a"), chat("q", "b")],
    ),
    "ultrafeedback": (
        {
            "prompt": "q",
            "messages": said("q", "a"),
            "chosen": said("q", "a"),
            "rejected": said("q", "b"),
            "score_chosen": 8.0,
        },
        [chat("q", "a"), chat("q", "b")],
    ),
}
REFUSED = {
    "hh-rlhf": (
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        "(--fields prompt=...), or where answers begin in a transcript with response_marker= (--response-marker)",
    ),
    "oasst": (
        {"message_id": "1", "parent_id": None, "text": "q", "role": "prompter"},
        "the nearest are text (text); say which with template= (--template)",
    ),
    "oasst as trees": (
        {"message_tree_id": "1", "prompt": {"text": "q", "role": "prompter", "replies": []}},
        "which keys hold its fields with fields= (--fields)",
    ),
    "squad": (
        {"id": "1", "context": "c", "question": "q", "answers": {"text": ["a"], "answer_start": [0]}},
        'the record has "id", "context", "question", "answers"): the nearest are question_answer (',
    ),
    "openai batch": (
        {"custom_id": "1", "method": "POST", "body": {"model": "m", "messages": said("q", "a")}},
        """the value of "body" is a record that fits: take it out of each, by jq -c '.["body"]'""",
    ),
    "glaive": (
        {"system": "SYSTEM: s", "chat": "USER: q\n\n\nASSISTANT: a <|endoftext|>"},
        'fits no template (the record has "system", "chat")',
    ),
    "xlam": ({"query": "q", "answers": "[]", "tools": "[]"}, "the nearest are question_answer (query, response)"),
    "prm800k": ({"labeler": "x", "question": {"problem": "p"}, "label": {"steps": []}}, "fits no template"),
    "flan": ({"inputs": "q", "targets": "a"}, "fits no template (the record has"),
    "messages as python has them": (
        {"messages": str(said("q", "a"))},
        "or the JSON of one, as json.dumps writes it (Python's own notation, with single quotes, is none)",
    ),
    "messages of which a key stands twice": (
        {"messages": '[{"role": "user", "role": "assistant", "content": "q"}]'},
        "it must be a list of messages, or the JSON of one",
    ),
    "images": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        'messages[0] has a part of type "image_url": only parts of text can be read',
    ),
    "sound": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        'messages[0] has a part of type "input_audio": only parts of text can be read; leave images, audio',
    ),
}


def shown(store, i):
    """A document with what is learnt in brackets, and the end token as $."""
    letters = ["$" if token == 256 else chr(token) for token in store[i].tolist()]
    edges = set(chain.from_iterable((("[", start), ("]", stop)) for start, stop in store.spans(i).tolist()))
    marks = [
        ("]" if ("]", at) in edges else "") + ("[" if ("[", at) in edges else "") for at in range(len(letters) + 1)
    ]
    return "".join(chain.from_iterable(zip(marks, [*letters, ""], strict=True)))


@pytest.fixture
def written(tmp_path):
    """A file of twenty such records."""

    def write(record):
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for _ in range(20)))
        return path

    return write


@pytest.mark.parametrize("kind", READ)
def test_a_layout_that_people_have_is_read_as_it_is_meant(written, tmp_path, kind):
    record, expected = READ[kind]
    store = prepare(written(record), tmp_path / "s", encoding="bytes", workers=1)
    assert [shown(store, i) for i in range(len(store))] == expected * 20


@pytest.mark.parametrize("kind", REFUSED)
def test_a_layout_that_is_not_read_is_refused_with_what_to_do(written, tmp_path, kind):
    record, message = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        prepare(written(record), tmp_path / "s", encoding="bytes", workers=1)
    assert message in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_transcripts_in_pairs_are_learnt_by_their_markers(written, tmp_path):
    record, _ = REFUSED["hh-rlhf"]
    markers = {"response_marker": "\n\nAssistant:", "prompt_marker": "\n\nHuman:"}
    store = prepare(written(record), tmp_path / "s", encoding="bytes", workers=1, **markers)
    assert shown(store, 0) == "\n\nHuman: q\n\nAssistant:[ a$]"
    assert shown(store, 1) == "\n\nHuman: q\n\nAssistant:[ b$]"


def test_calls_and_their_results_are_written_and_learnt(written, tmp_path):
    turns = [
        *said("q"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "r"},
        {"role": "assistant", "content": "a"},
    ]
    old = [*said("q"), {"role": "assistant", "content": None, "function_call": CALL["function"]}]
    tool = {"name": "get", "parameters": {}}
    stores = [
        prepare(written({"messages": messages, **tools}), tmp_path / name, encoding="bytes", workers=1)
        for name, messages, tools in (
            ("new", turns, {"tools": [{"type": "function", "function": tool}], "parallel_tool_calls": False}),
            ("old", old, {"functions": [tool]}),
        )
    ]
    call = '<|im_start|>assistant\n[<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call><|im_end|>]\n'
    result = "<|im_start|>user\n<tool_response>\nr\n</tool_response><|im_end|>\n"
    heads = [shown(store, 0).partition("<|im_start|>user\n")[0] for store in stores]
    assert heads[0] == heads[1]
    assert '<tools>\n{"type": "function", "function": {"name": "get", "parameters": {}}}\n</tools>' in heads[0]
    after = [shown(store, 0).partition("q<|im_end|>\n")[2] for store in stores]
    assert after == [f"{call}{result}<|im_start|>assistant\n[a<|im_end|>]\n[$]", f"{call}[$]"]


@pytest.mark.parametrize("kind", ["trl", "trl of preferences", "tulu"])
def test_a_chat_template_is_that_of_every_layout_of_messages(written, tmp_path, kind):
    pytest.importorskip("jinja2")
    path = tmp_path / "template.jinja"
    path.write_text(TEMPLATE + "{% if add_generation_prompt %}<assistant>{% endif %}")
    record, expected = READ[kind]
    store = prepare(written(record), tmp_path / "s", encoding="bytes", template=path, workers=1)
    assert [shown(store, i) for i in range(len(expected))] == [
        f"<user>q</s><assistant>[{answer}</s>$]" for answer in ("a", "b")[: len(expected)]
    ]


def test_a_completion_takes_other_keys_and_fewer_turns(written, tmp_path):
    record = {"asked": said("q"), "given": said("x", "a", "r", "b")[1:]}
    options = {"fields": {"prompt": "asked", "completion": "given"}, "train_on": "last"}
    store = prepare(written(record), tmp_path / "s", encoding="bytes", workers=1, **options)
    plain = chat("q", "a", learnt=False).replace("[", "").replace("]", "")
    assert shown(store, 0) == plain + chat("r", "b")
    assert store.manifest.template == "chatml"
