"""The Pulumi provider of the local cloud: packages `gcp`, `kubernetes` and `docker` in one process.

Check judges every input by the SDK's own types, Create realises the resource in a local service
where one exists and records it otherwise, with outputs shaped as Google's.
"""
