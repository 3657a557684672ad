"""Ways to divert new connections of a port: one file each."""
