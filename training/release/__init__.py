"""Turns finished runs into a bundle: export, quantisation, golden tiles, assessment, model card."""
