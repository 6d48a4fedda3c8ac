"""`python -m deploy.release`."""

from deploy.release.commands import app

app()
