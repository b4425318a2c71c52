"""Small results files of the benchmarks, made by hand."""

MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "refill_gigabytes_per_second": 20.0,
    "python": "3.11.7",
    "numpy": "2.4.6",
    "torch": "2.13.0",
    "rounds": 7,
}


def race(case, ratio, low, high, **facts):
    """A row whose baseline reaches 5 M tokens/s."""
    rates = {"baseline_tokens_per_second": 5e6, "tokens_per_second": 5e6 * ratio}
    return {
        "topic": "collate",
        "case": case,
        **rates,
        "ratio": ratio,
        "ratio_min": low,
        "ratio_max": high,
        **facts,
    }


def figure(case, value, unit, low=None, high=None, **facts):
    extremes = {} if low is None else {"value_min": low, "value_max": high}
    return {"topic": "plan", "case": case, "value": value, **extremes, "unit": unit, **facts}


def peer(name, rate, *, workers=0, corpus="short", **facts):
    measured = {
        "title": f"{name}'s loader",
        "version": "1.2",
        "tokens_per_second": rate,
        "tokens_per_second_min": rate * 0.9,
        "tokens_per_second_max": rate * 1.1,
        "cpu_seconds_per_million_tokens": 0.5,
        "padding": 0.25,
        "first_batch_seconds": 0.05,
        "resume_50_seconds": 1.5,
        "resume_99_seconds": 3.0,
        "peak_pss_megabytes": 456.0,
        "p50_milliseconds": 0.4,
        "p99_milliseconds": 2.0,
        "note": "",
    }
    return {"peer": name, "workers": workers, "corpus": corpus, **measured, **facts}


def absent(name, reason, *, workers=0, corpus="short"):
    return {"peer": name, "workers": workers, "corpus": corpus, "missing": reason}


def results(rows=(), figures=(), peers=None, **machine):
    found = {"machine": {**MACHINE, **machine}, "rows": list(rows), "figures": list(figures)}
    return found if peers is None else {**found, "peers": list(peers)}


PEERS = [
    peer("fastcollate", 100e6, first_batch_seconds=0.012, resume_99_seconds=0.008),
    peer("fastcollate", 80e6, workers=2, peak_pss_megabytes=400.0),
    peer("slow", 2e6, version="1.2, 3.4"),
    peer("slow", 4e6, workers=2, first_batch_seconds=0.04, resume_99_seconds=None, peak_pss_megabytes=None),
    absent("nobody", "pip install a|b"),
    peer("late", 1e6, workers=2, resume_99_seconds=None),
    peer("fastcollate", 300e6, corpus="long-tailed"),
    peer("slow", 9e6, corpus="long-tailed"),
]
