"""From finished runs to a bundle: export, quantisation, golden tiles, model card."""
