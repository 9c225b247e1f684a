"""A run's folder: what lies where, what writes it while a run goes on, and what reads it back."""
