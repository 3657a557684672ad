"""The demo: a small pod on this machine, and a program that runs in its place. The command is cli/demo.py."""
