"""One tile, from encoded bytes to an assessed answer. No HTTP, no event loop."""
