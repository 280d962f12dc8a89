"""What ships: nothing of Solana with the simulated venues, and with the real ones exactly what they need."""

import zipfile

import pytest

from infra.packaging import LARGEST_UNZIPPED, PROJECT, build_package, unzipped_size

pytestmark = [
    pytest.mark.timeout(300),  # it may have to download everything that ships
    pytest.mark.xdist_group("packages"),  # once
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Return the laptop's package with the simulated venues and the one with the real ones.

    They are built in a folder of the test's own, beside ``make run``, and share with it what was downloaded.
    """
    downloaded = PROJECT / ".local" / "build" / "dependencies"
    downloaded.mkdir(parents=True, exist_ok=True)
    archives = []
    for real_venues in (False, True):
        root = tmp_path_factory.mktemp("build")
        (root / "dependencies").symlink_to(downloaded, target_is_directory=True)
        package = build_package(PROJECT, root, "local", real_venues=real_venues)
        assert package.real_venues is real_venues
        archives.append(package.archive)
    return archives


def contents(archive):
    """Return the modules and packages at the top of a zip, without what describes them."""
    with zipfile.ZipFile(archive) as built:
        tops = {name.split("/")[0] for name in built.namelist()}
    return {name for name in tops if not name.endswith(".dist-info")}


def test_the_real_venues_add_what_they_need_and_the_simulated_ones_ship_nothing_of_it(packages):
    simulated, real = map(contents, packages)

    assert {"app.py", "chalicelib", "psycopg", "msgspec"} <= simulated
    assert real - simulated == {"solders", "jsonalias"}
    assert simulated <= real


def test_both_packages_fit_into_lambda(packages):
    simulated, real = map(unzipped_size, packages)

    print(f"unzipped: {simulated / 1e6:.1f} MB simulated, {real / 1e6:.1f} MB real")
    assert simulated < real < LARGEST_UNZIPPED
