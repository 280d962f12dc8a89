"""Brings a database to the current schema: ``python -m infra.migrate``.

The numbered SQL files of ``chalicelib/store/migrations`` are applied in order by yoyo-migrations, each once.
"""

import os
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import yoyo

from chalicelib.config import SettingsError, load_settings
from infra.commands import EXIT_BAD_SETTINGS, failed

MIGRATIONS = Path(__file__).parents[1] / "chalicelib" / "store" / "migrations"
MIGRATION_LOCK = 0x6F72646572  # "order": any number will do, as long as everyone who migrates uses the same


def migrate(database_url: str, migrations: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that are missing and return their names.

    Several callers at once wait for each other.

    Raises:
        psycopg.Error: the database cannot be reached, or a migration fails; that migration is then rolled back.
    """
    # Postgres releases this lock with the connection. yoyo's own lock is a row that outlives a killed process;
    # whoever holds ours knows that such a row is a leftover.
    with psycopg.connect(database_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        backend = yoyo.get_backend(_yoyo_url(database_url))
        with closing(backend.connection):
            backend.break_lock()
            with backend.lock():
                missing = backend.to_apply(yoyo.read_migrations(str(migrations)))
                backend.apply_migrations(missing)
                return [migration.id for migration in missing]


def _yoyo_url(database_url: str) -> str:
    _, address = database_url.split("://", 1)
    return f"postgresql+psycopg://{address}"


def main() -> int:
    """Migrate the database that the environment names and say what was done; returns the exit code."""
    if not (os.environ.get("DATABASE_URL") or os.environ.get("POSTGRES_HOST")):
        return failed("DATABASE_URL is not set, nor is POSTGRES_HOST: which database should be migrated?")
    try:
        applied = migrate(load_settings(os.environ).database_url)
    except SettingsError as wrong:
        return failed(f"These settings cannot be used:\n{wrong}", EXIT_BAD_SETTINGS)
    except psycopg.Error as error:
        return failed(f"The database could not be migrated: {error}")
    for name in applied:
        print(f"applied {name}")
    print("The database is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
