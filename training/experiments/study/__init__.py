"""The seed paper's whole study, from one TOML: its grid, its table, its figures, and a report."""
