"""What a pull request sees: what a preview would change, told so that it can be judged."""
