"""How quick programs are in a pod, beside the same work done natively. Run `python -m bench`."""
