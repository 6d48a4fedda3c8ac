"""Metrics, temperature and leakage of finished runs."""
