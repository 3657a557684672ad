"""The pod's incoming traffic, delivered to the program."""
