"""Lets the past happen again: a product's data set as files of history and as a live stream."""
