"""Measures what access control and the audit cost; `python -m benchmarks.access --help`."""
