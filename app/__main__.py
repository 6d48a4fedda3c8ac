"""Run the command `osteo` as `python -m app`."""

from app.cli.commands import app

app()
