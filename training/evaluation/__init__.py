"""Metrics, calibration and leakage of finished runs."""
