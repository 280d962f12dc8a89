"""What users install: a package of its own, with its types and its command."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oee import __version__

PROJECT = Path(__file__).parents[3]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it and nothing else into a folder, and return that."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "target"))
    shutil.copytree(PROJECT / "client", source, dirs_exist_ok=True)
    subprocess.run([sys.executable, "-c", BUILD, wheels], cwd=source, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", target, wheel], check=True)
    return target


def test_the_wheel_says_that_it_has_types_and_brings_the_command(installed: Path) -> None:
    (metadata,) = installed.glob("order_execution_client-*.dist-info/METADATA")

    assert (installed / "oee" / "py.typed").is_file()
    assert f"Version: {__version__}\n" in metadata.read_text()
    assert "Provides-Extra: cli" in metadata.read_text()
    assert (installed / "bin" / "oee").is_file()


def test_the_command_of_the_wheel_runs(installed: Path, tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, installed / "bin" / "oee", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (outcome.returncode, outcome.stdout) == (0, f"oee {__version__}\n")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_the_command_says_what_it_needs_where_its_extra_is_not_installed(tmp_path: Path, package: str) -> None:
    without = f"import sys; sys.modules['{package}'] = None; from oee.__main__ import main; main()"
    outcome = subprocess.run(
        [sys.executable, "-c", without],
        env={"PYTHONPATH": str(PROJECT / "client" / "src")},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "pip install 'order-execution-client[cli]'" in outcome.stderr
