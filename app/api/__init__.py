"""Routes, uploads and ASGI middleware: everything that knows HTTP, and no other logic."""
