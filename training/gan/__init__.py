"""Synthetic tiles from a generative adversarial network, for training folds and never for tests."""
