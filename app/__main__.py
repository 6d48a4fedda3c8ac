"""`python -m app` is the command `osteo`."""

from app.cli import app

app()
