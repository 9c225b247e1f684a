"""How rewards are run over groups: failures, deadlines, processes, statistics, other trainers."""
