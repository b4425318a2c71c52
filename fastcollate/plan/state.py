"""Where a run is: landmarks of its plan, its position as a small dict of plain JSON, the check that it belongs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fastcollate.arguments import check_count
from fastcollate.errors import StateError, StateMismatchError

__all__ = ["START", "Landmark", "Landmarks", "Position", "check_state", "make_state"]

VERSION = 2
_MOST_RANKS = 2**20
_FIELDS = ("version", "epoch", "batch", "group", "landmark", "seed", "fingerprint")


class Landmark(NamedTuple):
    """A `Landmark` says where a window begins: its number, its first global batch, its first token.

    Tokens are counted only where documents are joined. Where lengths decide how many batches a window has, one
    landmark saves counting all windows before it.
    """

    window: int = 0
    batch: int = 0
    token: int = 0


START = Landmark()


class Landmarks:
    """`Landmarks` count where the windows of one epoch begin, each window once.

    Two threads may count at the same time: whoever adds a landmark adds the same.

    Args:
        num_windows: How many windows the epoch has; the beginning of window `num_windows` is the epoch's end.
        known: A landmark to count from; the beginning of window 0 always is one.
        next_after: Where the window after a landmark's begins; it costs what planning a window costs.
    """

    def __init__(self, num_windows: int, *, known: Landmark, next_after: Callable[[Landmark], Landmark]) -> None:
        self._num_windows = num_windows
        self._known = {0: START, known.window: known}
        self._next_after = next_after

    def __contains__(self, window: int) -> bool:
        """Whether nothing need be counted to tell where `window` begins."""
        return window in self._known

    def add(self, landmark: Landmark) -> Landmark:
        """Return the landmark of that window: this one, unless another was known."""
        return self._known.setdefault(landmark.window, landmark)

    def of(self, window: int) -> Landmark:
        """Return where `window` begins, counted from the nearest landmark before it."""
        here = self._known[next(number for number in range(window, -1, -1) if number in self._known)]
        while here.window < window:
            here = self._after(here)
        return here

    def before(self, batch: int) -> Landmark:
        """Return the last landmark before global batch `batch`, or window 0's, counted from the nearest one."""
        numbers = sorted(self._known)
        nearest = bisect_left(numbers, batch, key=lambda window: self._known[window].batch)
        here = self._known[numbers[max(0, nearest - 1)]]
        while batch and here.window < self._num_windows and (after := self._after(here)).batch < batch:
            here = after
        return here

    def _after(self, here: Landmark) -> Landmark:
        if here.window + 1 not in self._known:
            self._known[here.window + 1] = self._next_after(here)
        return self._known[here.window + 1]


class Position(NamedTuple):
    """A `Position` counts the global batches delivered in `epoch`, planned in steps of `group` batches.

    `landmark` is where the plan's window around them begins: from there on nothing before need be counted. Steps
    of the optimizer are counted from global batch `begin` on.
    """

    epoch: int
    batch: int
    group: int
    landmark: Landmark = Landmark()
    begin: int = 0

    def step_begin(self, size: int) -> int:
        """Return the global batch with which the step of `size` batches began that is under way, or begins."""
        return self.begin + (self.batch - self.begin) // size * size


def make_state(
    position: Position,
    *,
    seed: int,
    fingerprint: Mapping[str, Any],
    must_count: bool = False,
    step: int | None = None,
) -> dict[str, Any]:
    """Return the state_dict of a position.

    Args:
        position: The position.
        seed: The plan's seed.
        fingerprint: The names of the data and the arguments, field by field.
        must_count: Whether lengths decide how many batches there are; then the state holds the position's
            landmark, after the epoch and the group that it is true of.
        step: How many batches a step has, where a rank has several of them; then the state holds it, and how many
            batches of the latest step were delivered.

    >>> make_state(Position(2, 40, 4), seed=7, fingerprint={"records": 9})
    {'version': 2, 'epoch': 2, 'batch': 40, 'group': 4, 'landmark': None, 'seed': 7, 'fingerprint': {'records': 9}}
    """
    epoch, batch, group, landmark, begin = position
    steps = {} if step is None else {"step": [step, (batch - begin) % step]}
    return {
        "version": VERSION,
        "epoch": epoch,
        "batch": batch,
        "group": group,
        "landmark": [epoch, group, *landmark] if must_count else None,
        "seed": seed,
        "fingerprint": dict(fingerprint),
        **steps,
    }


def check_state(
    state: Mapping[str, Any],
    *,
    seed: int,
    fingerprint: Mapping[str, Any],
    world_size: int = 1,
    accumulate: int = 1,
) -> Position:
    """Return the position in `state`, if it was taken over the same data with the same arguments.

    Args:
        state: What `make_state` returned.
        seed: The plan's seed.
        fingerprint: The names of the data and the arguments, field by field.
        world_size: The number of ranks now.
        accumulate: The batches of a rank's step now.

    Raises:
        StateError: not a state, or one that was changed since it was taken.
        StateMismatchError: a state of another version; or the first field that differs, its old and its new value.
    """
    _check_fields(state)
    epoch = check_count("the state's epoch", state["epoch"], error=StateError)
    batch = check_count("the state's batch", state["batch"], error=StateError)
    group = check_count("the state's group", state["group"], 1, most=_MOST_RANKS, error=StateError)
    if not isinstance(state["fingerprint"], Mapping):
        raise StateError("the state's fingerprint is not a dict: it was changed since it was taken")
    now = {"seed": seed, **fingerprint}
    then = {"seed": state["seed"], **state["fingerprint"]}
    for name in [*now, *(name for name in then if name not in now)]:
        if name not in now or name not in then or then[name] != now[name]:
            raise StateMismatchError(
                f"the state was taken with {name} {then.get(name)!r}, this dataset has {now.get(name)!r}: "
                "resume with the same data and arguments, or start a new run"
            )
    begin = _check_step(state["step"], batch, world_size, accumulate) if "step" in state else 0
    return Position(epoch, batch, group, _check_landmark(state["landmark"], epoch, batch, group), begin)


def _check_step(noted: Any, batch: int, world_size: int, accumulate: int) -> int:
    """The global batch that the step under way began with."""
    numbers: list[int] = list(noted) if isinstance(noted, list | tuple) else []
    if not all(type(number) is int for number in numbers):
        numbers = []
    if len(numbers) != 2 or not 0 <= numbers[1] < numbers[0] or numbers[1] > batch:
        raise StateError(f"the state's step is {noted!r}: it was changed since it was taken")
    size, given = numbers
    if given and size != world_size * accumulate:
        raise StateMismatchError(
            f"the state was taken after {given} of the {size} batches of a step, this dataset has steps of "
            f"{world_size * accumulate} (world_size x accumulate): resume with as many, or from a step's end"
        )
    if given % world_size:
        raise StateMismatchError(
            f"the state was taken after {given} of the {size} batches of a step, which {world_size} ranks cannot "
            "have delivered: resume with a world_size that divides them, or from a step's end"
        )
    return batch - given


def _check_fields(state: Any) -> None:
    if not isinstance(state, Mapping) or "version" not in state:
        fields = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise StateError(f"not a fastcollate state: it has {fields}, a state has {sorted(_FIELDS)}")
    if state["version"] != VERSION:
        raise StateMismatchError(
            f"the state has version {state['version']!r}, this fastcollate reads {VERSION}: "
            f"resume with the version that took it, or begin the epoch anew: set_epoch({state.get('epoch', 0)!r})"
        )
    if set(state) - {"step"} != set(_FIELDS):
        raise StateError(
            f"not a fastcollate state: it has {sorted(map(str, state))}, a state has {sorted(_FIELDS)}"
        )


def _check_landmark(noted: Any, epoch: int, batch: int, group: int) -> Landmark:
    """The landmark of a state; the epoch's start if it has none, or one that its batch is not after.

    It says which epoch and group it is true of: in a state changed by hand it is passed over, not believed.
    """
    if noted is None:
        return Landmark()
    numbers = noted if isinstance(noted, list | tuple) else []
    right = len(numbers) == len(Landmark()) + 2 and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    its_epoch, its_group, *place = numbers if right else [0, 0]
    if not right or (place[0] == 0 and any(place)):
        raise StateError(f"the state's landmark is {noted!r}: it was changed since it was taken")
    believed = (its_epoch, its_group) == (epoch, group) and place[1] < max(batch, 1)
    return Landmark(*place) if believed else Landmark()
