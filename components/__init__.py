"""Reusable component resources, one noun a file. They know no stack and no product."""
