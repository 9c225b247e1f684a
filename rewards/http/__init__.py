"""Asking an OpenAI-compatible endpoint, for a judge or for a model. Start with `client.py` (retries, deadline).

`wire.py` is one request, `ledger.py` counts and limits, `cache.py` remembers.
"""
