"""The users' stories in a real cluster."""
