"""Measurements against peers in the same run, told as ratios."""
