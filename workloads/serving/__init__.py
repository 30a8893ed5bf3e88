"""Serving: one model behind the contract of a Vertex AI custom container."""
