"""The only package of the service that imports TensorFlow and LiteRT, and only when needed."""
