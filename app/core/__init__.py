"""What serving and training share: tiles, manifests, calibration, errors. NumPy, Pillow and pydantic only."""
