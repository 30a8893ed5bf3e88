"""Measures how data, predictions and performance of a model fare against its training."""
