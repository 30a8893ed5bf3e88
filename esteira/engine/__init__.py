"""The Pulumi engine: how it is obtained and how stacks are driven on it."""
