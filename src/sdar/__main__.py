"""`python -m sdar` and `torchrun -m sdar` are `sdar`."""

import sys

from sdar.cli import main

if __name__ == "__main__":
    sys.exit(main())
