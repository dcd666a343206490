"""`python -I -S <folder of this file>`: make the package importable under its short name, then launch."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    importlib.import_module("shim.launch").main()
