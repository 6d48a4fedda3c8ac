"""The systems of the study: one small entry each, all through the same fit, evaluate and export."""
