"""`python -I -S <folder of this file>`: make the package importable under its short name, then launch.

`<a job's python> <folder of this file> <module>`: the same, then serve forks of that module (`serve`).
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    if len(sys.argv) > 1:
        importlib.import_module("shim.serve").main(sys.argv[1])
    else:
        importlib.import_module("shim.launch").main()
