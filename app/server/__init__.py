"""uvicorn: connections with bounds, early load shedding, start and drain. Nothing else imports uvicorn."""
