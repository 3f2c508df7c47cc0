"""Pictures of runs and of what they learned."""
