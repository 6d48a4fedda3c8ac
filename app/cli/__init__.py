"""The command `osteo`: serve, classify, explain, report, doctor."""
