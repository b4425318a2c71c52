"""What the benchmarks share: corpora, clocks, processes, the machine, its limits, and what was delivered."""
