"""The share of dead tumour, and how sure it is."""
