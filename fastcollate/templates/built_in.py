"""The templates that have a name: sections as `Part` takes them."""

from __future__ import annotations

from typing import Any

__all__ = ["BUILT_IN"]

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
    "text": ({"text": "{text}", "supervised": True},),
}
