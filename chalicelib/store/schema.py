"""The database's schema: the numbered SQL files of ``migrations``, applied in order by yoyo-migrations, each once.

Forward only, and each such that the version before it goes on working: while a deployment runs, and after one that was
rolled back, the old code meets the new schema.
"""

from contextlib import closing
from pathlib import Path

import psycopg

from chalicelib.clock import Clock

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_TABLE = "_yoyo_migration"
MIGRATION_LOCK = 0x6F72646572  # "order": any number will do, as long as everyone who migrates uses the same

LOCK_PAUSE_SECONDS = 0.1


def migrate(database_url: str, migrations: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that are missing and return their names.

    Several callers at once wait for each other.

    Raises:
        psycopg.Error: the database cannot be reached, or a migration fails; that migration is then rolled back.
    """
    # Only who migrates should pay for these.
    import yoyo
    from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
    from yoyo.connections import parse_uri

    class Patient(PostgresqlPsycopgBackend):  # type: ignore[misc]
        """Takes as long as it takes: the server's own limit is for an order's statements."""

        def init_connection(self, connection: psycopg.Connection) -> None:
            super().init_connection(connection)
            connection.execute("SET statement_timeout = 0")

    # Postgres releases this lock with the connection. yoyo's own lock is a row that outlives a killed process;
    # whoever holds ours knows that such a row is a leftover.
    with psycopg.connect(database_url, autocommit=True) as guard:
        _take_lock(guard)
        backend = Patient(parse_uri(_yoyo_url(database_url)), MIGRATION_TABLE)
        with closing(backend.connection):
            backend.init_database()
            backend.break_lock()
            with backend.lock():
                missing = backend.to_apply(yoyo.read_migrations(str(migrations)))
                backend.apply_migrations(missing)
                return [migration.id for migration in missing]


def _take_lock(guard: psycopg.Connection) -> None:
    """Take the lock, or ask for it again and again: a statement that waited would keep an index from being made."""
    clock = Clock()
    while guard.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK]).fetchone() != (True,):
        clock.sleep(LOCK_PAUSE_SECONDS)


def _yoyo_url(database_url: str) -> str:
    _, address = database_url.split("://", 1)
    return f"postgresql+psycopg://{address}"
