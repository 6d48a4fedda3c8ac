"""Transformed views of training tiles: geometry and stain."""
