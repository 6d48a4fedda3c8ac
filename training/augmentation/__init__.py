"""Transformed views of training tiles: geometry, crops, stain."""
