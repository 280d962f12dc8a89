"""Brings a database to the current schema: ``python -m infra.migrate``.

A deployment does this itself, from inside the VPC; this is for a database of one's own, and for a migration that
takes longer than a deployment may.
"""

import os
import sys

import psycopg

from chalicelib.config import SettingsError, load_settings
from chalicelib.store.schema import migrate
from infra.commands import EXIT_BAD_SETTINGS, failed


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
