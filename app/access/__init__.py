"""Who calls: API keys, tokens, client certificates, and how often each may. Knows no HTTP."""
