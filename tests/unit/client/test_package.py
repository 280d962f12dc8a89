"""What users install: a package of its own, with its types and its command."""

import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

from oee import __version__

PROJECT = Path(__file__).parents[3]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and return a folder with what is in it, which is what installing it brings."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "target"))
    shutil.copytree(PROJECT / "client", source, dirs_exist_ok=True)
    subprocess.run([sys.executable, "-c", BUILD, wheels], cwd=source, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    ZipFile(wheel).extractall(target)
    return target


def test_the_wheel_says_that_it_has_types_and_brings_the_command(installed: Path) -> None:
    (distribution,) = distributions(path=[str(installed)])

    assert (distribution.name, distribution.version) == ("order-execution-client", __version__)
    assert (installed / "oee" / "py.typed").is_file()
    assert [(command.name, command.value) for command in distribution.entry_points] == [("oee", "oee.__main__:main")]
    assert distribution.metadata.get_all("Provides-Extra") == ["cli"]


def test_the_command_of_the_wheel_runs(installed: Path, tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "oee", "--version"],
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
