"""``.env``: the settings of this machine, for what runs on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from chalicelib.config import SettingsError, load_settings
from infra.commands import EXIT_BAD_SETTINGS, failed

SETTINGS_FILE = Path(__file__).parents[2] / ".env"


def local_environment(environment: Mapping[str, str] = os.environ, file: Path = SETTINGS_FILE) -> dict[str, str]:
    """Return the environment with what ``.env`` sets besides; what the environment sets wins.

    Raises:
        SystemExit: a setting cannot be used; a command ends with this, and stderr says what is wrong.
    """
    settings = dotenv_values(file, interpolate=False)
    besides = {name: value for name, value in settings.items() if value and not environment.get(name)}
    whole = {**environment, **besides}
    try:
        load_settings(whole)
    except SettingsError as error:
        raise SystemExit(failed(f"These settings cannot be used:\n{error}", EXIT_BAD_SETTINGS)) from error
    return whole
