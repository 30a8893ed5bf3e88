"""One ASGI application for the REST APIs of the local cloud, checked against Google's documents."""
