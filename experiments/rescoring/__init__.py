"""Recorded completions under another reward, without a model."""
