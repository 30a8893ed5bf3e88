"""A/B tests: who is asked by which model, and what came of it."""
