"""Fetch the collection over HTTP, verify every file, and report what it contains."""
