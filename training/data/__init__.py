"""Tiles and what is known about them: names, labels, index, splits, overlaps."""
