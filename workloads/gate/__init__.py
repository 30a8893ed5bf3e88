"""The gate: whether a challenger may replace the champion, and the record of why."""
