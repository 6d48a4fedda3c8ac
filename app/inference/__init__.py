"""From one encoded tile to an assessed answer, without HTTP or an event loop."""
