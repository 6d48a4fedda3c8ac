"""Files: atomic writes, disk space, scratch arrays, TOML."""
