"""The keyed permutation: bijective for every size, uniform, and a pure function of its key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcollate.plan.permutation import Permutations, derive_key, hash_integers, permute

WORD = 2**64 - 1


def slow_permute(position, size, key):
    """The same network for one position, in Python integers."""
    rows = next(r for r in range(1, size + 1) if r * r >= size)
    columns = -(-size // rows)
    keys = [derive_key(key, number) for number in range(8)]

    def round_hash(half, key, radix):
        word = ((half ^ key) * 0x9E3779B97F4A7C15) & WORD
        word ^= word >> 29
        word = (word * 0xBF58476D1CE4E5B9) & WORD
        return (word >> 32) * radix >> 32

    while True:
        left, right = divmod(position, columns)
        for number in range(0, 8, 2):
            left = (left + round_hash(right, keys[number], rows)) % rows
            right = (right + round_hash(left, keys[number + 1], columns)) % columns
        position = left * columns + right
        if position < size:
            return position


@given(st.integers(1, 3000), st.integers(0, WORD))
def test_it_is_a_bijection_of_any_size(size, key):
    np.testing.assert_array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


@given(st.integers(1, 400), st.integers(0, WORD))
def test_it_equals_the_slow_network(size, key):
    expected = np.array([slow_permute(p, size, key) for p in range(size)])
    found = permute(np.arange(size), size, key)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 2**40), st.integers(0, WORD), st.integers(0, 2**40), st.integers(1, 40))
def test_few_positions_of_any_size_equal_the_slow_network(size, key, begin, count):
    positions = np.arange(begin % size, min(begin % size + count, size))
    expected = np.array([slow_permute(p, size, key) for p in positions.tolist()])
    np.testing.assert_array_equal(permute(positions, size, key), expected, strict=True)


@pytest.mark.parametrize("size", [16_383, 16_385, 50_000, 2**16, 1_000_003])
def test_many_positions_at_once_equal_a_few_at_a_time(size):
    """Many share tables of hashes and take several chunks; a few hash for themselves."""
    few = [np.arange(begin, min(begin + 50, size)) for begin in range(0, size, max(50, size // 200))]
    whole = permute(np.arange(size), size, 9)
    for positions in few:
        np.testing.assert_array_equal(permute(positions, size, 9), whole[positions], strict=True)


@pytest.mark.parametrize("many", [3, 20, 4096])
def test_several_ranges_at_once_equal_one_after_another(monkeypatch, many):
    """Whether a range is applied for itself or beside others, in one chunk or several."""
    monkeypatch.setattr("fastcollate.plan.permutation._MANY", many)
    sizes = [1, 2, 3, 7, 50, 1000, 12_345, 2**40 - 1, 2**40]
    keys = [derive_key(8, number) for number in range(len(sizes))]
    ranges = np.arange(700) * 7919 % 83 % len(sizes)
    positions = np.arange(700) * 999_983 % np.array(sizes)[ranges]
    expected = [permute(np.array([p]), sizes[r], keys[r])[0] for r, p in zip(ranges, positions, strict=True)]
    together = Permutations(np.array(sizes), keys)
    np.testing.assert_array_equal(together.at(ranges, positions), np.array(expected), strict=True)
    assert together.at(np.arange(0), np.arange(0)).dtype == np.int64


def test_positions_of_any_integers_stay_as_they_are():
    positions = np.arange(90, dtype=np.int32)[::-2]
    expected = permute(np.arange(90), 100, 3)[positions]
    np.testing.assert_array_equal(permute(positions, 100, 3), expected, strict=True)
    np.testing.assert_array_equal(positions, np.arange(90, dtype=np.int32)[::-2], strict=True)
    assert permute(np.arange(0), 100, 3).dtype == np.int64


@pytest.mark.parametrize("size", [2**40, 2**40 - 1, 10**12 + 39])
def test_large_sizes_stay_inside_and_collide_nowhere(size):
    found = permute(np.arange(size - 200_000, size), size, 5)
    assert found.min() >= 0
    assert found.max() < size
    assert len(np.unique(found)) == 200_000


def test_positions_can_be_asked_for_in_any_pieces():
    whole = permute(np.arange(50_000), 50_000, 9)
    pieces = [permute(np.arange(a, a + 10_000), 50_000, 9) for a in range(0, 50_000, 10_000)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def looks_like(found, expected):
    """Whether counts are within five standard deviations of what chi-square allows."""
    freedom = expected.size - 1
    return abs(((found - expected) ** 2 / expected).sum() - freedom) < 5 * np.sqrt(2 * freedom)


def binned(values, size, bins):
    """Counts of `values` in [0, size) in `bins` bins, and what a uniform draw of as many would give."""
    weights = np.bincount(np.arange(size) * bins // size, minlength=bins)
    found = np.bincount((values * bins // size).ravel(), minlength=bins)
    return found, weights * values.size / size


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 97, 1000, 65_537])
def test_positions_neighbours_and_displacements_are_uniform(size):
    epochs = 400_000 // size + 40
    orders = np.stack([permute(np.arange(size), size, derive_key(3, epoch)) for epoch in range(epochs)])
    bins = min(size, 50)
    places = np.arange(size) * bins // size
    table = np.zeros((bins, bins))
    np.add.at(table, (np.broadcast_to(places, orders.shape), orders * bins // size), 1)
    weights = np.bincount(places, minlength=bins)
    assert looks_like(table, np.outer(weights, weights) * epochs / size)
    assert looks_like(*binned((np.diff(orders, axis=1) % size) - 1, size - 1, min(size - 1, 50)))
    assert looks_like(*binned((orders - np.arange(size)) % size, size, bins))


def test_no_two_epochs_or_adjacent_seeds_are_alike():
    orders = [permute(np.arange(2000), 2000, derive_key(seed, epoch)) for seed in range(20) for epoch in range(20)]
    same = [int((a == b).sum()) for i, a in enumerate(orders) for b in orders[i + 1 : i + 60]]
    assert max(same) < 12  # fixed points of a random permutation are Poisson with mean 1
    assert 0.9 < np.mean(same) < 1.1


def test_the_order_never_changes():
    """Golden: a run resumed with another version of this library must find the same order."""
    assert permute(np.arange(8), 1000, derive_key(0, 0)).tolist() == GOLDEN_PERMUTATION
    assert derive_key(1, 2, 3) == GOLDEN_KEY
    assert hash_integers(np.arange(3), 1).tolist() == GOLDEN_HASHES


GOLDEN_PERMUTATION = [729, 746, 632, 903, 588, 580, 17, 952]
GOLDEN_KEY = 15020427595393229491
GOLDEN_HASHES = [10451216379200822465, 16294208416658607535, 2092789425003139053]
