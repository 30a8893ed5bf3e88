"""Servers of one model, each as its own documents say: what ours is measured against."""
