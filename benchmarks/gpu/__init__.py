"""Benchmark of the SavedModel runtime on a GPU; see `__main__`."""
