"""Fits and measures how far the predictions of a bundle can be trusted.

`app.inference.assessor` applies the result to every tile.
"""
