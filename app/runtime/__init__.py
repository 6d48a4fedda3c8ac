"""The only door to TensorFlow and LiteRT; both are imported lazily, inside this package."""
