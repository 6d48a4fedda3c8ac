"""Progress bars and Markdown, for people at a terminal."""
