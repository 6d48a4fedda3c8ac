"""The systems that can be trained, one registry entry each, and the Keras graphs they share."""
