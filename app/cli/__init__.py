"""The `osteo` command: serve, classify, explain, doctor."""
