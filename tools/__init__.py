"""What the project is kept with: the gate, reports and comparisons of measurements, corpora, counted hops."""
