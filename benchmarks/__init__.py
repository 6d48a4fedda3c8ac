"""The service measured against what a user would pick instead. Linux only: it drives `wrk`."""
