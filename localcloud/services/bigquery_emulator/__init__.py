"""What runs inside the BigQuery emulator's own environment: it imports local-bigquery and nothing
of ours."""
