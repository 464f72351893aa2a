"""``python scripts/chaos_runs``: what ``scripts/chaos`` runs in the project's environment."""

from __future__ import annotations

import sys
from pathlib import Path

# The project itself, and scripts/ for the stack of servers.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos_runs.cli import main

INTERRUPTED = 130

try:
    sys.exit(main())
except KeyboardInterrupt:
    # Servers and workers were ended on the way here.
    sys.exit(INTERRUPTED)
