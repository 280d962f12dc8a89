from pathlib import Path
from typing import Any

import pytest

from infra.packaging import package_template

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def packaged() -> dict[str, Any]:
    """Return the template for AWS as Chalice and ``infra/app.json`` make it together."""
    return package_template(PROJECT, "prod")
