"""From gradients to updates: clipping, update rules, schedules."""
