"""Drawings of models and of their monitors, as SVG that asks for nothing from elsewhere."""
