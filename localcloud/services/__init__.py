"""The services of the local cloud, one package each."""
