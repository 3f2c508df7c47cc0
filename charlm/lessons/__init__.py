"""The lesson: a page in which a trained network is stepped forward and backward."""
