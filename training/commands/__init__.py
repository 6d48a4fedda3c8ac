"""The commands of `osteo-train`, a file a topic; `training.cli` puts them together."""
