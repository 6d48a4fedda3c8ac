"""Runs on disk: cross-validation, records, identity, resuming."""
