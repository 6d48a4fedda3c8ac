"""How far a bundle's answers can be trusted: fitted and measured here, applied by `app.inference.assessor`."""
