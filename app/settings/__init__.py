"""Settings of the service: environment variables `OSTEO_*`, read once at start."""

from app.settings.fields import PREFIX, Settings
from app.settings.reading import read_settings

__all__ = ["PREFIX", "Settings", "read_settings"]
