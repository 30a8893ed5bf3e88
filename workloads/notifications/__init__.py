"""Takes alerts from a topic to where people read them."""
