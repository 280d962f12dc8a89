"""What AWS gets is built for its processors, on whatever machine it is packaged: with the wheels as published."""

import json
import subprocess
import sys
import zipfile

import pytest

from infra.packaging import (
    LAMBDA_PYTHONS,
    PROJECT,
    PackagingError,
    build_package,
    install_command,
    load_package,
    requirements_of,
    wheel_target,
)

pytestmark = pytest.mark.timeout(300)  # it may have to download everything that ships

ELF = b"\x7fELF"
AARCH64 = 183
"""``e_machine`` of an ELF header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html"""
NEEDED = ("psycopg_binary", "msgspec")
"""What ships compiled; without psycopg's own the engine would look for a libpq that Lambda does not have."""
NEEDED_FOR_REAL_VENUES = (*NEEDED, "solders")


def machines(contents):
    """Return which processor each compiled file is for."""
    return {name: int.from_bytes(head[18:20], "little") for name, head in contents.items() if head.startswith(ELF)}


def assert_built_for_arm64(contents, needed=NEEDED):
    compiled = machines(contents)
    assert {name for name in needed if any(file.startswith(f"{name}/") for file in compiled)} == set(needed)
    assert set(compiled.values()) == {AARCH64}


@pytest.mark.parametrize("real_venues", [False, True], ids=["simulated", "real"])
@pytest.mark.parametrize("python", LAMBDA_PYTHONS, ids=lambda python: ".".join(map(str, python)))
def test_what_ships_is_to_be_had_for_arm64(tmp_path, python, real_venues):
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    locks = requirements_of(PROJECT, real_venues=real_venues)
    install = install_command(locks, tmp_path, wheel_target(config, "prod", python))

    installed = subprocess.run(install, capture_output=True, text=True, check=False)

    assert installed.returncode == 0, installed.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    heads = {path.relative_to(tmp_path).as_posix(): path.read_bytes()[:20] for path in files}
    assert_built_for_arm64(heads, NEEDED_FOR_REAL_VENUES if real_venues else NEEDED)
    # A module for another Python would be found by none.
    tag = f"cpython-{python[0]}{python[1]}-aarch64-linux-gnu"
    assert [
        path.name for path in files if path.suffix == ".so" and "cpython-" in path.name and tag not in path.name
    ] == []


def test_a_package_for_aws_is_for_arm64_and_made_only_by_a_python_that_lambda_runs(tmp_path):
    if sys.version_info[:2] not in LAMBDA_PYTHONS:
        # The laptop's Python may be another; CI has this test build on one of them, too.
        with pytest.raises(PackagingError, match="PYTHON=python"):
            build_package(PROJECT, tmp_path, "prod")
        return

    package = build_package(PROJECT, tmp_path, "prod")

    functions = [
        resource["Properties"]
        for resource in package.template["Resources"].values()
        if isinstance(resource, dict) and resource["Type"] == "AWS::Serverless::Function"
    ]
    assert functions
    for function in functions:
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == f"python{sys.version_info.major}.{sys.version_info.minor}"
    with zipfile.ZipFile(package.archive) as archive:
        assert_built_for_arm64({name: archive.read(name)[:20] for name in archive.namelist()})
    assert load_package(package.archive.parent) == package
    # What staging ran is, byte for byte, what prod gets.
    assert build_package(PROJECT, tmp_path, "staging").archive_digest == package.archive_digest
