"""The benchmark behind benchmarks/run."""
