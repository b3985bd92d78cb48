"""`python -m unpool` is `unpool`."""

import sys

from unpool.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
