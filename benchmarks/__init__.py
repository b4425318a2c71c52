"""What this library is measured by: `bench_*.py`, a topic each; `harness/` is theirs, `peers/` are others."""
