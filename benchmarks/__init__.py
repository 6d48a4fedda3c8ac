"""Benchmarks of the service, of its peers and of training. The serving benchmark needs Linux."""
