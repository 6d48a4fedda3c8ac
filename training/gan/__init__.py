"""Tiles that a generative adversarial network makes: for training folds, and never for a test."""
