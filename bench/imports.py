"""What a cold start pays for the real venues: their imports, beyond what every process has loaded."""

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from bench.figures import judged, table_with_goals

PROJECT = Path(__file__).parents[1]
PROCESSES = 7
GOAL_MILLISECONDS = 150.0
"""A function that swaps for real starts when an order comes, which waits for it."""
_IMPORT = """
import importlib, pkgutil, time
from chalicelib.clock import Clock
from chalicelib.config import load_settings
from chalicelib.engine import Engine

# As a function does while it starts, simulated or not.
nobody = {"REDIS_URL": "redis://127.0.0.1:1", "MANAGEMENT_API_URL": "http://127.0.0.1:1"}
Engine(load_settings(nobody), Clock()).prepare()
import chalicelib.venues as venues

begun = time.perf_counter()
for name in ("raydium", "meteora", "solana"):
    module = importlib.import_module(f"{venues.__name__}.{name}")
    for part in pkgutil.iter_modules(getattr(module, "__path__", [])):
        importlib.import_module(f"{module.__name__}.{part.name}")
from urllib3 import PoolManager
print(time.perf_counter() - begun)
"""


def measure_imports(processes: int = PROCESSES) -> list[float]:
    """Return how many seconds importing the real venues took, in as many fresh processes."""
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    return [
        float(subprocess.check_output([sys.executable, "-c", _IMPORT], cwd=PROJECT, env=environment, text=True))
        for _ in range(processes)
    ]


def show_imports(console: Console, seconds: list[float]) -> None:
    """Print the best as a table: the others waited for something else as well."""
    best = min(seconds) * 1000
    table = table_with_goals("Import of the real venues", "best")
    table.add_row(
        "beyond what a process has loaded",
        f"{best:.0f} ms",
        judged(f"< {GOAL_MILLISECONDS:.0f} ms", met=best < GOAL_MILLISECONDS),
        f"of {len(seconds)} fresh processes",
    )
    console.print(table)
