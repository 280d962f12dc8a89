"""The benchmarks: they start, and measure servers of their own."""

from bench.__main__ import SETTINGS
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
