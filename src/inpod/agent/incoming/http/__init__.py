"""HTTP on ports with a filter: each request goes to whom it is for."""
