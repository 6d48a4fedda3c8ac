"""Whole slides: from a scan to tiles, their classes and the share of dead tumour. Knows no HTTP."""
