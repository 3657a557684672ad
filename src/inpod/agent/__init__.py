"""Runs beside the target, on the standard library alone; one file or folder per feature."""
