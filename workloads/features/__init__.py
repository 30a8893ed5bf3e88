"""Features: one GoogleSQL query a product, frozen into snapshots and guarded against leaks."""
