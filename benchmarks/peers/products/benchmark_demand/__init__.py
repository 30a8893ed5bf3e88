"""A product for the benchmark of serving only."""
