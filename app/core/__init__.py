"""Code that serving and training share. It imports only NumPy, Pillow and pydantic."""
