"""What serving and training share. It knows NumPy, Pillow and pydantic only."""
