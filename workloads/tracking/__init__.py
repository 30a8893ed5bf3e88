"""MLflow's tracking server as this platform runs it: narrowed, private, on PostgreSQL and GCS."""
