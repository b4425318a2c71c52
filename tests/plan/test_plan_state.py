"""A state is a position, a seed and a fingerprint; what was changed by hand is passed over or refused by name."""

import json

import pytest

from fastcollate import StateError, StateMismatchError
from fastcollate.plan.state import Landmark, Position, check_state, make_state

POSITION = Position(2, 40, 4, Landmark(3, 36, 900))
BELONGS = {"seed": 7, "fingerprint": {"plan": "token buckets", "widths": [8, 16]}}


def taken(**changes):
    return {**make_state(POSITION, must_count=True, **BELONGS), **changes}


def test_a_state_is_what_it_says_it_is():
    assert json.loads(json.dumps(taken())) == {
        "version": 2,
        "epoch": 2,
        "batch": 40,
        "group": 4,
        "landmark": [2, 4, 3, 36, 900],
        "seed": 7,
        "fingerprint": {"plan": "token buckets", "widths": [8, 16]},
    }
    assert check_state(json.loads(json.dumps(taken())), **BELONGS) == POSITION


def test_without_counting_there_is_no_landmark():
    state = make_state(POSITION, **BELONGS)
    assert state["landmark"] is None
    assert check_state(state, **BELONGS) == POSITION._replace(landmark=Landmark())


@pytest.mark.parametrize("change", [{"epoch": 1}, {"group": 2}, {"batch": 36}, {"batch": 0}])
def test_a_landmark_that_no_longer_fits_is_passed_over(change):
    found = check_state(taken(**change), **BELONGS)
    assert found == POSITION._replace(**change, landmark=Landmark())


@pytest.mark.parametrize("batch", [37, 41, 10**6])
def test_a_landmark_before_the_batch_is_kept(batch):
    assert check_state(taken(batch=batch), **BELONGS) == POSITION._replace(batch=batch)


def test_the_fingerprint_does_not_change_with_the_position():
    later = make_state(Position(3, 80, 4, Landmark(5, 72, 0)), must_count=True, **BELONGS)
    assert later["fingerprint"] == taken()["fingerprint"]


def test_a_state_of_version_1_says_what_to_do():
    old = {
        "version": 1,
        "epoch": 3,
        "batch": 40,
        "group": 4,
        "seed": 7,
        "fingerprint": {"landmark": [2, 4, 3, 36, 9]},
    }
    message = (
        r"the state has version 1, this fastcollate reads 2: resume with the version that took it, "
        r"or begin the epoch anew: set_epoch\(3\)"
    )
    with pytest.raises(StateMismatchError, match=message):
        check_state(old, **BELONGS)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (5, StateError, "not a fastcollate state: it has int"),
        ({}, StateError, r"not a fastcollate state: it has \[\]"),
        (taken(more=1), StateError, "not a fastcollate state: it has .*'more'"),
        (taken(epoch=-1), StateError, "the state's epoch is -1: it must be an integer, at least 0"),
        (taken(batch="3"), StateError, "the state's batch is '3': it must be an integer"),
        (taken(group=True), StateError, "the state's group is True: it must be an integer, from 1 to 1048576"),
        (taken(fingerprint=[]), StateError, "the state's fingerprint is not a dict"),
        (taken(landmark=[3, 36, 900]), StateError, r"the state's landmark is \[3, 36, 900\]: it was changed"),
        (taken(seed=8), StateMismatchError, "taken with seed 8, this dataset has 7: resume with the same data"),
        (
            taken(fingerprint={"plan": "row buckets", "widths": [8, 16]}),
            StateMismatchError,
            "taken with plan 'row buckets', this dataset has 'token buckets'",
        ),
        (
            taken(fingerprint={**BELONGS["fingerprint"], "lanes": 2}),
            StateMismatchError,
            "taken with lanes 2, this dataset has None",
        ),
    ],
)
def test_states_that_do_not_belong_here_are_refused(state, error, message):
    with pytest.raises(error, match=message):
        check_state(state, **BELONGS)
