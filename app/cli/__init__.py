"""The command `osteo`: serve, classify, explain, doctor."""
