"""Seconds of a call, and what several rounds of them come to."""

import statistics
import time


def seconds(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def milliseconds(function, rounds):
    """What each round took."""
    return [seconds(function) * 1e3 for _ in range(rounds)]


def spread(values, name):
    """The median of `values` as `name`, and beside it their extremes and quartiles."""
    found = {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}
    if len(values) > 2:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        found[f"{name}_quartiles"] = [low, high]
    return found
