"""Show slides in processes of their own: facts, thumbnails, deep zoom tiles."""
