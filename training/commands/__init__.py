"""The commands of `osteo-train`, one file for each topic; `training.cli` combines them."""
