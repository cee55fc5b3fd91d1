"""Entry point of ``hlscape`` and ``python -m flow``."""

import sys

from flow.cli import main

if __name__ == "__main__":
    sys.exit(main())
