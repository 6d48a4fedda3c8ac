"""Fitting one classifier: phases, sampling, loss, optimizers, checkpoints."""
