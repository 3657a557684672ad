"""`python -m inpod.agent`: the agent of a direct target."""

import sys

from inpod.agent.main import main

main(sys.argv[1:])
