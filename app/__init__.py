"""The inference service: histology tiles in, class probabilities out. Research use only."""

__version__ = "1.0.0"
