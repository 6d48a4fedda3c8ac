"""Inference service: classifies histology tiles of osteosarcoma. Research use only."""

__version__ = "1.0.0"
