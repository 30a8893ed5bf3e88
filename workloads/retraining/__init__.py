"""When a model is trained again on its own account, and what becomes of what was trained."""
