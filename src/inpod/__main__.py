"""`python -m inpod`."""

import sys

from inpod.cli.main import main

sys.exit(main())
