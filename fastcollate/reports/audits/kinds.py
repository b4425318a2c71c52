"""The kinds of findings: the word for each, what it means, and what to do."""

from __future__ import annotations

__all__ = ["KINDS"]

KINDS = {
    "no_target": (
        "No token is a target, its weight is 0, or it is the first token, which nothing predicts: the record "
        "costs time and teaches nothing. Give it an answer, or prepare with "
        'unsupervised="drop" (--unsupervised drop).'
    ),
    "unknown_id": (
        "An id is none of the encoding's: the store is damaged (fastcollate verify), and a model fails on it. "
        "Restore the files, or prepare the store again."
    ),
    "bad_weight": (
        "A weight is below 0 or not finite: the loss rewards mistakes, or is NaN. Give weights that are 0 or more."
    ),
    "cut": (
        "Targets lie past token {length}, where a loader of that length cuts: {wholly} lose all of them, {partly} "
        'some. Raise the length, or prepare with max_length={length} and overlong="cut_prompt" or "drop".'
    ),
    "end_only": (
        "The end is the only target, white space aside: the model learns to say nothing. Take records with empty "
        "answers out of the source."
    ),
    "no_end": (
        "The targets stop before any end of turn or text: the model does not learn to stop. Prepare with "
        "append_eot=True, let the template or the mask learn the end of each turn, and cut no answer."
    ),
    "open_turn": (
        "The last turn has no end: it was cut, or it is a prompt without its answer. Raise max_length, or leave "
        "the prompt for an answer (add_generation_prompt) to inference."
    ),
    "empty_reasoning": (
        "A block of reasoning is empty: where it is learnt, the model learns not to think. Take the block out, or "
        "fill it."
    ),
    "doubled_bos": (
        "The record begins with the same control token twice: a template and a tokenizer have both written it. "
        "Let one of them do so."
    ),
    "control_text": (
        "The text spells the name of a control token, such as <|endoftext|>, in plain letters, and a model learns "
        "these as several tokens. Take it out of the source: templates put control tokens where they belong."
    ),
    "spelt_marks": (
        "The encoding lacks the template's control tokens, so they are plain letters, which cost several tokens "
        "each and which any text can imitate. Use an encoding that has them, or another template."
    ),
    "learnt_role": (
        "The header of a turn is a target: the model learns to speak for others. Mask headers: a mask begins "
        "after the header and ends with the turn's end."
    ),
    "duplicate": (
        "The record has the same tokens as an earlier one, and is learnt as often as it is there. Keep one of "
        "them in the source."
    ),
}
"""The kinds in the order in which they are shown; braces are filled in."""
