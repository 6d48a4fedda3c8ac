"""Fetch the collection over HTTP, so that every file is right, and report what it holds."""
