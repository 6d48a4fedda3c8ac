"""Comparisons of recipes; the released pipeline does not import them."""
