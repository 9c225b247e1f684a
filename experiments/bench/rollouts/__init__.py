"""`groundrl bench rollouts`: the same work by this project, by TRL, and with every prompt computed for each row."""
