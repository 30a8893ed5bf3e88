"""From the door to the raw tables: streams and files are judged by contract, and none is lost."""
