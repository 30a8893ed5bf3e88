"""Vertex AI Feature Store: feature groups, online stores, feature views, and their syncs.

What a view's sync reads from BigQuery is kept in the PostgreSQL of the home, one table a view, and
answered from there: a home without a database instance refuses to sync and to fetch. Like Google's,
a store knows nothing before the first sync, holds what was true at the last one, and answers one
entity a request.

What is not here, and refused: stores for vector search (`optimized`), continuous syncs, direct
writes, the columns' array, struct and time types.
"""
