"""How far a bundle's answers can be trusted: fitted and measured here.

`app.inference.assessor` applies it.
"""
