"""Routes, uploads, problems and middleware: everything that knows HTTP."""
