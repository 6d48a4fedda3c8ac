"""`python -m app` is the command `osteo`."""

from app.cli.commands import app

app()
