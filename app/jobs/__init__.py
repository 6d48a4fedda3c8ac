"""Work that outlives a request: slides are queued, leased to workers, and resumed after a kill."""
