"""Pub/Sub on this machine: Publisher, Subscriber, SchemaService and IAM over Google's own messages.

The server speaks gRPC, keeps its state in one SQLite file, and is driven by `google-cloud-pubsub`
exactly as the service on Google Cloud is. What it does not do (see `refusals.py`) it refuses.
"""
