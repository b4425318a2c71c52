"""A run's position as a small dict of plain JSON, and the check that it belongs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastcollate.errors import StateError, StateMismatchError
from fastcollate.plan.order import Landmark

__all__ = ["Position", "check_state", "make_state"]

VERSION = 1
_MOST_RANKS = 2**20
_FIELDS = ("version", "epoch", "batch", "group", "seed", "fingerprint")


class Position(NamedTuple):
    """Where in which order: global batches delivered in `epoch`, planned in steps of `group` batches.

    `landmark` is where the plan's window around them begins: from there on nothing before need be counted.
    """

    epoch: int
    batch: int
    group: int
    landmark: Landmark = Landmark()


def make_state(
    position: Position, *, seed: int, fingerprint: Mapping[str, Any], counted: bool = False
) -> dict[str, Any]:
    """The state_dict of a position: `fingerprint` names the data and the arguments, field by field.

    Where lengths decide how many batches there are (`counted`), it holds the position's landmark too.

    >>> make_state(Position(2, 40, 4), seed=7, fingerprint={"records": 100})
    {'version': 1, 'epoch': 2, 'batch': 40, 'group': 4, 'seed': 7, 'fingerprint': {'records': 100}}
    """
    epoch, batch, group, landmark = position
    place = {"epoch": epoch, "batch": batch, "group": group}
    beside = {"landmark": [epoch, group, *landmark]} if counted else {}
    return {"version": VERSION, **place, "seed": seed, "fingerprint": {**fingerprint, **beside}}


def check_state(state: Mapping[str, Any], *, seed: int, fingerprint: Mapping[str, Any]) -> Position:
    """The position in `state`, if it was taken over the same data with the same arguments.

    Raises:
        StateError: not a state of this version.
        StateMismatchError: the first field that differs, its old and its new value.
    """
    if not isinstance(state, Mapping) or set(state) != set(_FIELDS):
        fields = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise StateError(f"not a fastcollate state: it has {fields}, a state has {sorted(_FIELDS)}")
    if state["version"] != VERSION:
        raise StateMismatchError(
            f"the state has version {state['version']!r}, this fastcollate reads {VERSION}: "
            "resume with the version that took it"
        )
    for name, low in (("epoch", 0), ("batch", 0), ("group", 1)):
        value = state[name]
        high = _MOST_RANKS if name == "group" else 2**63 - 1
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise StateError(f"the state's {name} is {value!r}: it must be an integer from {low} to {high}")
    if not isinstance(state["fingerprint"], Mapping):
        raise StateError("the state's fingerprint is not a dict: it was changed since it was taken")
    now = {"seed": seed, **fingerprint}
    then = {"seed": state["seed"], **state["fingerprint"]}
    landmark = _check_landmark(
        then.pop("landmark", None), Position(state["epoch"], state["batch"], state["group"])
    )
    for name in [*now, *(name for name in then if name not in now)]:
        if name not in now or name not in then or then[name] != now[name]:
            raise StateMismatchError(
                f"the state was taken with {name} {then.get(name)!r}, this dataset has {now.get(name)!r}: "
                "resume with the same data and arguments, or start a new run"
            )
    return Position(state["epoch"], state["batch"], state["group"], landmark)


def _check_landmark(noted: Any, position: Position) -> Landmark:
    """The landmark of a state; the epoch's start if it has none, or one that its batch is not after.

    It says which epoch and group it is true of: in a state changed by hand it is passed over, not believed.
    """
    if noted is None:
        return Landmark()
    numbers = noted if isinstance(noted, list | tuple) else []
    right = len(numbers) == len(Landmark()) + 2 and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    epoch, group, *place = numbers if right else [0, 0]
    if not right or (place[0] == 0 and any(place)):
        raise StateError(f"the state's landmark is {noted!r}: it was changed since it was taken")
    believed = (epoch, group) == (position.epoch, position.group) and place[1] < max(position.batch, 1)
    return Landmark(*place) if believed else Landmark()
