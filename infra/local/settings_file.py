"""``.env``: the settings of this machine, for what runs on this machine."""

import os
from pathlib import Path

from dotenv import dotenv_values

SETTINGS_FILE = Path(__file__).parents[2] / ".env"


def read_settings_file() -> dict[str, str]:
    """Read what ``.env`` sets; what the environment sets wins and is left out."""
    settings = dotenv_values(SETTINGS_FILE, interpolate=False)
    return {name: value for name, value in settings.items() if value and not os.environ.get(name)}
