"""Random trees on real nodes, while a nemesis kills, pauses and restarts; then a checker reads what was written."""
