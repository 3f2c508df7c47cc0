"""Training: one update, a whole run, the loop around it."""
