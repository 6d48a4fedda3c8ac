"""Offline training: from the labelled tiles of a collection to a released model bundle."""
