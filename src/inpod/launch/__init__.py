"""How to run the user's program: ELF facts, environment, process."""
