"""How are answers sampled? The policy, its log-probs, and what a run leaves on disk."""
