"""The tree of errors: the words of `InputError.reason` are those that its docstring explains."""

import ast
import pickle
import re
from pathlib import Path

import fastcollate
from fastcollate import errors

PACKAGE = Path(fastcollate.__file__).parent
TREES = [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
WORD = re.compile(r"[a-z]+(_[a-z]+)*")  # a message, which other functions call a reason, has blanks


def nodes_of(kind):
    return [node for tree in TREES for node in ast.walk(tree) if isinstance(node, kind)]


def words_in(nodes):
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and WORD.fullmatch(value)}


def reasons_given():
    """Every word that the package gives to a parameter `reason`, by name or by place, or counts as rejected."""
    places = {"InputError": set()}
    for function in nodes_of(ast.FunctionDef):
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        if "reason" in names:
            places.setdefault(function.name, set()).add(names.index("reason"))
    for made in nodes_of(ast.ClassDef):
        inits = [node for node in made.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        names = [argument.arg for init in inits for argument in init.args.args[1:]]
        if "reason" in names:
            places.setdefault(made.name, set()).add(names.index("reason"))
    found = {"invalid"}  # what a reason is by default
    for function in nodes_of(ast.FunctionDef):
        if function.name == "reason_of":
            found |= words_in(ast.walk(function))
    for call in nodes_of(ast.Call):
        name = getattr(call.func, "attr", getattr(call.func, "id", None))
        if name in places:
            found |= words_in(call.args[place] for place in places[name] if place < len(call.args))
            found |= words_in(keyword.value for keyword in call.keywords if keyword.arg == "reason")
    counted = [node for node in nodes_of(ast.Subscript) if getattr(node.value, "id", None) == "rejected"]
    return found | words_in(node.slice for node in counted)


def test_every_reason_is_explained_and_every_word_explained_is_given():
    explained = re.findall(r"^ {8}([a-z_]+) {2,}\S", errors.InputError.__doc__, re.MULTILINE)
    assert sorted(explained) == sorted(reasons_given())
    assert len(explained) == len(set(explained))


def test_the_default_reason_is_the_first_word():
    assert errors.InputError("wrong").reason == "invalid"


def test_an_input_error_keeps_its_address_when_it_goes_to_another_process():
    error = errors.InputError("a.jsonl, line 7: not JSON", path="a.jsonl", row=7, reason="not_json")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.path, again.row, again.reason) == (
        errors.InputError,
        "a.jsonl, line 7: not JSON",
        "a.jsonl",
        7,
        "not_json",
    )


def test_every_error_is_in_the_tree_and_public():
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert all(issubclass(kind, errors.FastCollateError) for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(fastcollate.__all__)
