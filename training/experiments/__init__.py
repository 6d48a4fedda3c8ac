"""Comparisons of recipes; the release does not import them."""
