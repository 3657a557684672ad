"""Copies of connections, put together from the packets that arrive."""
