"""`python -m rewardranker` is the command line."""

import sys

from rewardranker.cli import main

if __name__ == "__main__":
    sys.exit(main())
