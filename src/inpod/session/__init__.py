"""Local daemon of one run: plan, act, undo; one file per feature."""
