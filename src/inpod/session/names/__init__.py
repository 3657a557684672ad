"""Names: whose they are, and what they stand for."""
