"""The templates that have a name: sections as `Part` takes them, and chat formats as `ChatFormat` takes them."""

from __future__ import annotations

from typing import Any

__all__ = ["BUILT_IN", "CHAT_FORMATS"]

_SHORT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
_PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
_INSTRUCTION = {"text": "\n\n### Instruction:\n{instruction}"}
_INPUT = {"text": "\n\n### Input:\n{input}", "when": "input"}

BUILT_IN: dict[str, tuple[dict[str, Any], ...]] = {
    # The header "### Response:" is learned: one prompts without it and the model writes it.
    "alpaca": (
        {"text": _SHORT},
        _INSTRUCTION,
        _INPUT,
        {"text": "\n\n### Response:\n{output}", "supervised": True},
    ),
    "stanford_alpaca": (
        {"text": _PAIRED, "when": "input"},
        {"text": _SHORT, "unless": "input"},
        _INSTRUCTION,
        _INPUT,
        {"text": "\n\n### Response:\n"},
        {"text": "{output}", "supervised": True},
    ),
    "prompt_completion": ({"text": "{prompt}"}, {"text": "{completion}", "supervised": True}),
    "question_answer": ({"text": "{question}\n"}, {"text": "{answer}", "supervised": True}),
    # Stanford's text, with Dolly's names: what Alpaca calls input is `context`, and the answer is `response`.
    "dolly": (
        {"text": _PAIRED, "when": "context"},
        {"text": _SHORT, "unless": "context"},
        _INSTRUCTION,
        {"text": "\n\n### Input:\n{context}", "when": "context"},
        {"text": "\n\n### Response:\n"},
        {"text": "{response}", "supervised": True},
    ),
    "orca": (
        {"text": "{system_prompt}\n\n", "when": "system_prompt"},
        {"text": "{question}\n"},
        {"text": "{response}", "supervised": True},
    ),
    "text": ({"text": "{text}", "supervised": True},),
}

_CHATML = ("system", "user", "assistant")
_LLAMA = {"system": "system", "user": "user", "assistant": "assistant", "tool": "ipython"}
_PHI = ("system", "user", "assistant")

CHAT_FORMATS: dict[str, dict[str, Any]] = {
    # As Qwen and Hermes have it, whose vocabularies hold the marks of calls and reasoning as tokens too.
    "chatml": {
        "roles": tuple((role, f"<|im_start|>{role}\n", "<|im_end|>\n") for role in _CHATML),
        "control": (
            *("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"),
            *("<tool_response>", "</tool_response>", "<think>", "</think>"),
        ),
    },
    "llama3": {
        "roles": tuple(
            (role, f"<|start_header_id|>{spelt}<|end_header_id|>\n\n", "<|eot_id|>")
            for role, spelt in _LLAMA.items()
        ),
        "begin": "<|begin_of_text|>",
        "control": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "tools": "llama3",
        "trim": True,
    },
    "phi3": {
        "roles": tuple((role, f"<|{role}|>\n", "<|end|>\n") for role in _PHI),
        "control": ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    },
}
