"""Calls an engine as its contract allows, and as it does not: schemathesis, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
MINUTES = 5


def findings(url: str, folder: Path, *options: str) -> str:
    """Return what schemathesis says against the engine at ``url``; nothing when it has found nothing.

    Whatever it writes, it writes into ``folder``.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run", *options]
    done = subprocess.run(
        [*command, f"{url}/openapi.json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES * 60,
        check=False,
    )
    return done.stdout if done.returncode else ""
