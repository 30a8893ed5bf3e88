"""What runs on the resources: ingestion, training, serving, monitoring. Knows no Pulumi."""
