"""The benchmarks: they start, and measure servers of their own."""

from rich.console import Console

from bench.__main__ import SETTINGS
from bench.imports import measure_imports, show_imports
from chalicelib.config import load_settings

SOMEBODYS = {
    "DATABASE_URL": "postgresql://db/orders",
    "POSTGRES_HOST": "db",
    "REDIS_URL": "redis://cache/0",
    "REDIS_HOST": "cache",
    "LAUNCH_WEBHOOK_SECRET": "secret",
    "USE_REAL_DEVNET": "true",
}


def test_a_benchmark_never_touches_the_servers_that_somebody_works_with():
    """It deletes what is in their tables, and fills them."""
    assert load_settings({**SOMEBODYS, **SETTINGS}) == load_settings(SETTINGS)
    for variable in SOMEBODYS:
        assert SETTINGS[variable] == "", "an empty value has the stack start a server of its own"


def test_the_import_of_the_real_venues_is_measured_in_fresh_processes():
    (seconds,) = measure_imports(processes=1)

    # Were solders loaded before, next to nothing would remain.
    assert 0.005 < seconds < 10


def test_the_best_import_is_what_counts():
    console = Console(record=True, width=200)
    show_imports(console, [0.3, 0.149])

    assert "149 ms" in console.export_text()
