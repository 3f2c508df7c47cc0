"""What turns gradients into updates: clipping, update rules, schedules."""
