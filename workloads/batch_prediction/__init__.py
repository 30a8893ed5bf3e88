"""Batch prediction: every question of a day, by some tasks side by side, into BigQuery."""
