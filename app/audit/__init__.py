"""What is recorded: an append-only, hash-chained table of answers, refusals and changes."""
