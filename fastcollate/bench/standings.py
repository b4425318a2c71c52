"""What `fastcollate bench` found, as a table and in words."""

from __future__ import annotations

import textwrap
from typing import Any

from fastcollate.errors import plural
from fastcollate.reports.text import columns, file_size, printable

TITLES = {
    "plain_loop": "plain loop",
    "hugging_face": "Hugging Face style",
    "padded": "fastcollate padded",
    "packed": "fastcollate packed",
}
_BESIDE = ("plain_loop", "padded", "packed")  # what the words compare


def print_standings(facts: dict[str, Any]) -> None:
    """Print the table, what padding costs, what there is to gain, and what was checked."""
    _say("", printable(_subject(facts)))
    _print_table(facts["loops"])
    if facts["copies"]:
        _print_copies(facts["copies"])
    _say("padding", _padding(facts))
    _say("gain", _gain(facts["loops"]))
    if not facts["copies"]:
        _say("device", "batches stay on the CPU: no copies are made")
    _say("ranks", _waiting(facts["idle_of_packs"]))
    _say("equal work", _checked(facts))


def _waiting(idle: dict[str, Any]) -> str:
    if idle["ranks"] == 1:
        return "there is one, which waits for nobody; --world-size R tells how long R ranks wait for each other"
    return (
        f"of the time of {idle['ranks']:,} ranks that share these packs {100 * idle['by_work']:.2f} % is lost on "
        f"waiting for the busiest one of a step; with packs dealt at random {100 * idle['at_random']:.2f} %."
    )


def _subject(facts: dict[str, Any]) -> str:
    used, have = facts["records"], facts["records_in_store"]
    part = f"all {used:,} records" if used == have else f"{used:,} random records of {have:,}"
    rows = f"batches of {plural(facts['batch_size'], 'row')}"
    packs = f"{plural(facts['packs_of_a_batch'], 'pack')} of {facts['pack']:,} tokens"
    return f"{facts['path']}: {part}, {facts['tokens']:,} tokens; {rows}, or of {packs}; on {facts['device']}"


def _print_table(loops: dict[str, Any]) -> None:
    head = f"{'batches':>8} {'padding':>9} {'tokens / s':>12} {'ratio':>6} {'CPU s / M':>10} {'p99 ms':>8}"
    print(f"\n  {'':18} {head}")
    for name, loop in loops.items():
        print(
            f"  {TITLES[name]:18} {loop['batches']:>8,} {100 * loop['padding']:>7.1f} % "
            f"{_rounded(loop['tokens_per_second']):>12} {_times(loop['ratio']):>6} "
            f"{loop['cpu_seconds_per_million_tokens']:>10.3f} {1000 * loop['seconds_between_batches_p99']:>8.2f}"
        )
    _say(
        "",
        "tokens / s: real ones, without padding; CPU s / M: CPU seconds of all threads for a million of them; "
        "p99 ms: 99 of 100 batches come within that time of the one before.",
        indent="  ",
    )


def _print_copies(found: dict[str, Any]) -> None:
    print(f"\n  {'':18} {'copied':>8} {'bytes / token':>14} {'copies / batch':>15} {'waited':>8} {'bus':>10}")
    for name, copies in found.items():
        rate = copies["bytes_per_second"]
        print(
            f"  {TITLES[name]:18} {file_size(copies['bytes']):>8} {copies['bytes_per_token']:>14.1f} "
            f"{copies['copies_per_batch']:>15.1f} {copies['seconds_waited']:>6.2f} s "
            f"{'unknown' if rate is None else file_size(int(rate)) + '/s':>10}"
        )
    batches = " and ".join(f"{copies['batches']:,}" for copies in found.values())
    _say("", f"over all epochs run, {batches} batches; waited: what the loop spent waiting for them.", indent="  ")


def _padding(facts: dict[str, Any]) -> str:
    plain, padded, packed = (facts["loops"][name] for name in _BESIDE)
    everywhere = f"{100 * facts['expected_plain_padding']:.1f}"
    sampled = facts["records"] < facts["records_in_store"]
    whole = f" By the lengths of all records in the store a plain loop pads {everywhere}." if sampled else ""
    shares = [f"{100 * loop['padding']:.1f}" for loop in (plain, padded, packed)]
    return (
        f"of every 100 cells the plain loop sends through a model, {shares[0]} are padding; of ours {shares[1]} "
        f"padded, {shares[2]} packed. For the same tokens the model goes over {_work(padded, plain)} padded, "
        f"{_work(packed, plain)} packed.{whole}"
    )


def _work(ours: dict[str, Any], plain: dict[str, Any]) -> str:
    """Say in words how many cells there are beside the plain loop's.

    >>> [_work({"cells": cells}, {"cells": 100}) for cells in (60, 100, 150)]
    ['40.0 % fewer cells', 'as many cells', '50.0 % more cells']
    """
    share = f"{100 * abs(1 - ours['cells'] / plain['cells']):.1f}"
    if share == "0.0":
        return "as many cells"
    return f"{share} % {'fewer' if ours['cells'] < plain['cells'] else 'more'} cells"


def _gain(loops: dict[str, Any]) -> str:
    plain, padded, packed = (loops[name] for name in _BESIDE)
    epochs = [_duration(loop["seconds"]) for loop in (plain, padded, packed)]
    most = _rounded(plain["tokens_per_second"])
    return (
        f"batches come {_times(padded['ratio'])} as fast padded, {_times(packed['ratio'])} packed: an epoch of "
        f"these records takes the plain loop {epochs[0]}, ours {epochs[1]} padded, {epochs[2]} packed. In one "
        f"process the plain loop holds up any model that takes more than {most} tokens / s."
    )


def _checked(facts: dict[str, Any]) -> str:
    split = facts["records_split"]
    cut = f" {plural(split, 'record')} longer than a pack lie in several." if split else ""
    return (
        f"checked: all four delivered the same {facts['tokens']:,} tokens, by count, by sum of ids and by a hash "
        f"of all inputs and labels; the packs in their documents.{cut} The first two find their rows as Python "
        "lists in memory when the clock starts; ours read the store and plan the epoch on the clock. Median of "
        f"{facts['rounds']} rounds, in turn, after a warm-up."
    )


def _say(title: str, text: str, *, indent: str = "") -> None:
    """Print a paragraph as wide as the terminal, under its title."""
    head = f"{title:12}" if title else indent
    if title or indent:
        print()
    width, hang = columns() - 1, " " * len(head)
    print(textwrap.fill(text, width, initial_indent=head, subsequent_indent=hang, break_on_hyphens=False))


def _times(ratio: float) -> str:
    """Say how many times as fast something is.

    >>> _times(104.4), _times(0.871), _times(2.04)
    ('104x', '0.9x', '2.0x')
    """
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def _rounded(value: float) -> str:
    """Write three digits of a rate: the others are noise.

    >>> _rounded(849_321.7), _rounded(88_251_000), _rounded(12.3)
    ('849,000', '88,300,000', '12')
    """
    return f"{float(f'{value:.3g}'):,.0f}"


def _duration(seconds: float) -> str:
    """Write seconds in a unit that people read.

    >>> _duration(0.0123), _duration(1.25), _duration(300), _duration(8_000)
    ('12 ms', '1.2 s', '5.0 min', '2.2 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
