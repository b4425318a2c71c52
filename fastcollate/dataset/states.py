"""Positions of a dataset as states, and states as positions; what makes a state impossible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastcollate.errors import PlanError, StateError
from fastcollate.plan.order import WindowedPlan
from fastcollate.plan.state import Position, check_state, make_state

__all__ = ["WORKERS_KNOW", "check_not_begun", "no_batches", "position_in", "state_at"]

WORKERS_KNOW = (
    "DataLoader workers iterate this dataset, and the main process does not know how many of their batches were "
    "delivered: take the state of a StreamLoader or of torchdata's StatefulDataLoader, or say where the next pass "
    "begins by set_epoch"
)


def state_at(
    position: Position,
    plan: WindowedPlan[Any],
    *,
    fingerprint: Mapping[str, Any],
    step: int,
    accumulate: int,
) -> dict[str, Any]:
    """Return a position as JSON, with the last landmark before it where lengths decide how many batches there are.

    Args:
        position: The position.
        plan: The plan of its epoch.
        fingerprint: The names of the data and the arguments.
        step: The batches of a step, over all ranks.
        accumulate: Those of one rank.
    """
    first, batch = position.step_begin(step), position.batch
    if plan.must_count:
        placed, landmark = plan.place(first)
        batch = batch if first < batch else placed
        position = position._replace(batch=batch, landmark=landmark, begin=min(first, batch))
    many = None if accumulate == 1 else step
    return make_state(position, seed=plan.seed, fingerprint=fingerprint, must_count=plan.must_count, step=many)


def position_in(
    state: Mapping[str, Any],
    plan: WindowedPlan[Any],
    *,
    fingerprint: Mapping[str, Any],
    world_size: int,
    accumulate: int,
) -> Position:
    """Return the position in a state; see `check_state`.

    Raises:
        StateError: It is no state of this library.
        StateMismatchError: It was taken over other data or arguments.
    """
    ranks = {"world_size": world_size, "accumulate": accumulate}
    position = check_state(state, seed=plan.seed, fingerprint=fingerprint, **ranks)
    if "step" not in state:  # of a run whose steps have one batch a rank: one ended there
        position = position._replace(begin=position.batch)
    if position.landmark.window > plan.num_windows:
        raise StateError(f"the state's landmark is {position.landmark}: the plan has fewer windows")
    return position


def no_batches(records: int, ranks: int) -> PlanError:
    """Return the error for an epoch of which `drop_last` leaves nothing."""
    return PlanError(
        f"the epoch has no batches: {records} records do not fill a step of {ranks} rank(s), and drop_last=True "
        "drops the rest; make batches smaller or keep it"
    )


def check_not_begun(position: Position, collate_fn: Any) -> None:
    """An epoch goes on with the batches that it began with.

    Raises:
        StateError: It has begun.
    """
    if position.batch:
        begun = f"the epoch has begun with batches that were not planned for {collate_fn!r:.200}"
        raise StateError(f"{begun}: call plan_for, or make the StreamLoader, before load_state_dict")
