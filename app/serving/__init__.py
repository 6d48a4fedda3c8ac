"""Which model answers, and when: admission, loading, rollout, readiness, the worker pool."""
