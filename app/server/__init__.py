"""uvicorn: bounded connections, early load shedding, start and drain.

Nothing else imports uvicorn.
"""
