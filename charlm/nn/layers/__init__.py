"""The layers of a network: forward beside backward."""
