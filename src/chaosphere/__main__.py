"""`python -m chaosphere` is the command `chaosphere`."""

import sys

from chaosphere.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
