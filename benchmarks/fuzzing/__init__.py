"""Random faults of one kind a file, each case a function of (seed, kind, number); `benchmarks.fuzz` runs them."""
