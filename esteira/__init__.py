"""The command line: drives the Pulumi engine, the local cloud and the workloads."""
