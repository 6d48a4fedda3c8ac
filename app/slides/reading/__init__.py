"""Open slides and read squares of them, from their own JPEG tiles or by OpenSlide."""
