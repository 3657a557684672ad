"""What the program says outward, passed to the pod."""
