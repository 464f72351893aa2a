"""``python -m flowcraft_dagster.cli``: the same as ``flowcraft-dagster``."""

from __future__ import annotations

import sys

from flowcraft_dagster.cli import main

if __name__ == "__main__":
    sys.exit(main())
