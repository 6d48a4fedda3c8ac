"""`osteo report`: one HTML page of classified tiles, with CSV and JSON beside it."""
