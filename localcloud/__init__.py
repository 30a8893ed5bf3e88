"""Google Cloud on this machine: the Pulumi provider and the APIs that the workloads call."""
