"""`python -m fastcollate VERB ...` is the command `fastcollate`, with whatever Python runs it."""

from __future__ import annotations

import sys

from fastcollate.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
