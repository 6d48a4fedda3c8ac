"""Tiles and what is known about them: names, labels, the index, splits and overlaps."""
