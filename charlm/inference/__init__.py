"""A trained model in use: scores, text, novelty."""
