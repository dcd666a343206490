"""`python -m sampan.host FOLDER`. Nothing is defined here: a second import would make a second copy of it."""

from __future__ import annotations

import sys

from sampan.host.start import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
