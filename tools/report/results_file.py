"""Reading what `python -m benchmarks` wrote."""

import json


def load_results(path):
    """A results file; a `ValueError` or `OSError` says what is wrong with it."""
    try:
        results = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): give a file that `python -m benchmarks` wrote") from None
    if not isinstance(results, dict) or not {"machine", "rows", "figures"} <= results.keys():
        raise ValueError(f"{path} has no machine, rows and figures: give a file that `python -m benchmarks` wrote")
    return results
