"""The schema of options and file, and where values come from."""
