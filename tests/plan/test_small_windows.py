"""Small windows are planned many at a time, a large one for one batch; none is another window for it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import Known, bucket_plans, fields, global_batches, rows_of

from fastcollate.plan.buckets.row_buckets import OneStep, RowBuckets
from fastcollate.plan.buckets.token_buckets import TokenBuckets
from fastcollate.plan.permutation import Purpose, derive_key, hash_integers
from fastcollate.plan.sorting import longest_between

SMALL = st.integers(9, 30)

ONE_LANE = bucket_plans(SMALL).map(lambda plan: replace(plan, lanes=1))  # with more, windows come one by one


def slow_sorted(plan, begin, end):
    """Records at positions of the epoch's order, longest first, one by one."""
    ids = plan.order(begin, end).tolist()
    return sorted(ids, key=lambda record: -plan.lengths_at(np.array([record]))[0])


def slow_shuffled(plan, number, steps):
    """Steps sorted by a word each, and the batches of each step by a word each."""

    def words(purpose, numbers):
        key = derive_key(plan.seed, plan.epoch, purpose, number)
        return {n: int(hash_integers(np.array([n]), key)[0]) for n in numbers}

    if not plan.shuffle:
        return [batch for step in steps for batch in step]
    order = words(Purpose.STEPS, range(len(steps)))
    inside = words(Purpose.RANKS, range(len(steps) * plan.group))
    found = []
    for step in sorted(range(len(steps)), key=order.get):
        numbers = range(step * plan.group, (step + 1) * plan.group)
        found += [steps[step][n - numbers[0]] for n in sorted(numbers, key=inside.get)]
    return found


def dealt(ids, group):
    edges = [rank * len(ids) // group for rank in range(group + 1)]
    return [ids[a:b] for a, b in pairwise(edges)]


def slow_filled(plan, ids):
    """The batches of a step, each with the rows its longest leaves room for and whether it is full; the rest."""
    batches = []
    while ids and len(batches) < plan.group:
        rows = plan.max_tokens // int(plan.lengths_at(np.array(ids[:1]))[0])
        batches.append((ids[:rows], len(ids) >= rows))
        ids = ids[rows:]
    return batches, ids


def slow_window(plan, number):
    """The records of each batch of a window, one window for itself, before the largest step comes first."""
    if isinstance(plan, RowBuckets):
        full = plan.num_records // (plan.group * plan.batch_size)
        begin, end = (w * full // plan.num_windows * plan.group * plan.batch_size for w in (number, number + 1))
        ids, size = slow_sorted(plan, begin, end), plan.group * plan.batch_size
        found = slow_shuffled(
            plan, number, [dealt(ids[i : i + size], plan.group) for i in range(0, len(ids), size)]
        )
        rest = number == plan.num_windows - 1 and not plan.drop_last and end < plan.num_records
        return found + dealt(slow_sorted(plan, end, plan.num_records), plan.group) if rest else found
    ids, steps, last = slow_sorted(plan, *plan.bounds(number)), [], []
    while ids:
        longest = int(plan.lengths_at(np.array(ids[:1]))[0])
        width = min(w for w in plan.widths if w >= longest) if plan.widths else longest
        size = plan.max_tokens // width * plan.group
        filled, others = slow_filled(plan, ids)
        if len(filled) == plan.group > 1 and not plan.widths and (filled[-1][1] or len(ids) > size):
            whole, step = filled[-1][1], [batch for batch, _ in filled]
            if whole:
                steps.append(step)
            elif not (plan.drop_last and number == plan.num_windows - 1):
                last = step
            ids = others
            continue
        if len(ids) < size and not (plan.drop_last and number == plan.num_windows - 1):
            last = dealt(ids, plan.group)
        elif len(ids) >= size:
            steps.append(dealt(ids[:size], plan.group))
        ids = ids[size:]
    return slow_shuffled(plan, number, steps) + last


@settings(max_examples=300)
@given(ONE_LANE)
def test_windows_planned_together_are_those_planned_one_by_one(plan):
    plan = replace(plan, longest_first=False)
    together, counts = plan.plan_together(0, plan.num_windows)
    expected = [slow_window(plan, number) for number in range(plan.num_windows)]
    assert [rows_of(batch) for batch in together] == [rows for window in expected for rows in window]
    np.testing.assert_array_equal(counts, np.array([len(window) for window in expected]), strict=True)


@settings(max_examples=200)
@given(ONE_LANE)
def test_together_they_have_the_rows_and_widths_of_each(plan):
    together, counts = plan.plan_together(0, plan.num_windows)
    windows = [plan.plan_window(number) for number in range(plan.num_windows)]
    np.testing.assert_array_equal(counts, np.array([len(window) for window in windows]), strict=True)
    for name in ("rows", "widths", "real_rows"):
        expected = np.concatenate([getattr(window, name) for window in windows])
        np.testing.assert_array_equal(getattr(together, name), expected, strict=True)
    expected = [batch.record_ids.tolist() for window in windows for batch in window]
    assert [batch.record_ids.tolist() for batch in together] == expected


@pytest.mark.parametrize("longest_first", [False, True])
@pytest.mark.parametrize("kind", [{"batch_size": 4}, {"max_tokens": 200}], ids=["rows", "tokens"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_how_many_come_together_changes_nothing(monkeypatch, kind, longest_first, drop_last):
    lengths = np.arange(403) * 7919 % 83 + 1
    chosen = RowBuckets if "batch_size" in kind else TokenBuckets

    def planned():
        common = fields(Known(lengths), window=10, group=2, drop_last=drop_last)
        plan = chosen(**common, **kind, longest_first=longest_first)
        begins = [plan.landmark_of(number).batch for number in range(plan.num_windows + 1)]
        places = [plan.place(batch) for batch in range(begins[-1] + 3)]
        return plan.at_once, begins, places, plan.shapes(), [b.record_ids.tolist() for b in global_batches(plan)]

    usual = planned()
    assert usual[0] > 40
    for records, at_once in ((1, 1), (37, 3), (100, 9)):
        monkeypatch.setattr("fastcollate.plan.buckets.bucket_plan.TOGETHER", records)
        found = planned()
        assert found[0] == pytest.approx(at_once, abs=1)
        assert found[1:] == usual[1:]


@settings(max_examples=200)
@given(st.lists(st.sampled_from([1, 2, 3, 40, 2**16, 2**20]), min_size=1, max_size=60), st.data())
def test_a_few_of_the_longest_are_found_without_sorting_all(lengths, data):
    lengths = np.array(lengths[: data.draw(st.integers(1, len(lengths)))])
    first = data.draw(st.integers(0, len(lengths) - 1))
    last = data.draw(st.integers(first + 1, len(lengths)))
    whole = np.array(sorted(range(len(lengths)), key=lambda place: -lengths[place]))
    np.testing.assert_array_equal(longest_between(lengths, first, last), whole[first:last], strict=True)


@pytest.mark.parametrize("widths", [None, [16, 90]])
@pytest.mark.parametrize("records", [400, 403])
@pytest.mark.parametrize("shuffle_block", [1, 8])
def test_a_window_of_one_large_step_has_the_batches_of_a_sorted_one(monkeypatch, widths, records, shuffle_block):
    """The first batch that is asked for, any other one, and the records as a whole."""
    for module in ("bucket_plan", "row_buckets"):
        monkeypatch.setattr(f"fastcollate.plan.buckets.{module}.TOGETHER", 7)
    known = Known(np.arange(records) * 7919 % 83 + 1)
    common = fields(known, window=10, group=25, seed=4, shuffle_block=shuffle_block)
    plan = RowBuckets(**common, batch_size=4, widths=widths)
    for number in range(4):
        expected = plan.plan_window(number)
        whole, counts = plan.plan_together(number, number + 1)
        assert isinstance(whole, OneStep) == (number < 3 or records == 400)
        assert counts.tolist() == [len(expected)] == [len(whole)]
        np.testing.assert_array_equal(whole.record_ids, expected.record_ids, strict=True)
        np.testing.assert_array_equal(whole.real_rows, expected.real_rows, strict=True)
        for rank in range(25):
            window, _ = plan.plan_together(number, number + 1)
            for batch in (rank, (rank + 7) % 25):
                np.testing.assert_array_equal(window[batch].record_ids, expected[batch].record_ids, strict=True)
                assert window[batch].width == expected[batch].width
