"""From token ids to log-probs, in several equal forms."""
