"""What a results file has of a peer, of all that was measured of it."""

PARTS = (0.5, 0.99)  # of an epoch, where a run is resumed


def as_row(found):
    """What a results file has of a peer."""
    notes = [
        found.get("notes"),
        *(f"{name[8:]}: {why}" for name, why in found.items() if name.startswith("note on")),
    ]
    note = "; ".join(filter(None, notes))
    row = {name: found[name] for name in ("title", "resume", "records", "batches") if name in found}
    row["version"] = ", ".join(found.get("versions", {}).values())
    if "tokens_per_second" not in found:
        return {**row, "missing": found.get("missing") or note or "it delivered no batch"}
    rate, waits, peak = found["tokens_per_second"], found["batch_seconds"], found.get("peak_pss_bytes")
    row |= {"tokens_per_second": rate["median"]}
    row |= {f"tokens_per_second_{end}": rate[end] for end in ("min", "max")}
    row["cpu_seconds_per_million_tokens"] = found["cpu_seconds_per_million_tokens"]
    row["first_batch_seconds"] = found.get("first_batch_seconds")
    row |= {f"{name}_milliseconds": 1e3 * waits[name] for name in ("p50", "p99", "max")}
    row |= {f"resume_{100 * part:.0f}_seconds": found.get(f"resume {part}") for part in PARTS}
    return row | {"padding": found["padding_fraction"], "peak_pss_megabytes": peak and peak / 1e6, "note": note}
