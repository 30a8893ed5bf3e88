"""A real Google Cloud project: made ready before the first `up`, and looked over."""
