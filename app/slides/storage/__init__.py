"""Slides, uploads and results on the disk of a service."""
