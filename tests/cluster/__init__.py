"""A real Kubernetes on this machine for the tests: `python -m tests.cluster up`. Facts: README.md beside this."""
