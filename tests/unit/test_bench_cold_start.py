"""What a cold start pays: imports by package, and the package's weight by dependency."""

import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from bench.cold_start import ColdStartFigures, Start, by_package, functions, report, show_cold_start, sizes_in

IMPORT_TIMES = """\
import time: self [us] | cumulative | imported package
import time:       200 |        200 |   json.decoder
import time:      1000 |       1200 | json
import time:      4000 |       4000 |     psycopg.pq
import time:      3000 |       7000 |   chalicelib.store.orders
import time:      2000 |       9000 | app
"""


def figures(start: float) -> ColdStartFigures:
    """Figures of starts in three pairs, of which the last one was on a machine that was slower."""
    times = {"starts": [start, start, 4 * start], "unavoidable": [0.5, 0.5, 2.0]}
    start = Start(function="execute_order", **times, imports={"psycopg": 0.1})
    return ColdStartFigures(rounds=7, starts=[start], sizes={"psycopg": (2_000_000, 1_000_000)})


def test_modules_count_for_their_package_without_what_they_import():
    expected = {"the engine": 0.005, "psycopg": 0.004, "Python's own": 0.0012}
    assert by_package(IMPORT_TIMES) == pytest.approx(expected)


def test_every_deployed_function_is_started():
    assert {"api_handler", "authorize", "execute_order", "migrate_database"} <= set(functions())


def test_files_count_for_who_installed_them(tmp_path: Path):
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("two_words-1.0.dist-info/RECORD", "words.py,,\ntwo/part.py,,\n")
        package.writestr("words.py", "w" * 10)
        package.writestr("__pycache__/words.cpython-313.pyc", "w" * 20)
        package.writestr("two/part.py", "w" * 30)
        package.writestr("app.py", "a" * 5)
        package.writestr("chalicelib/config.py", "a" * 6)
        package.writestr("chalice/app.py", "c" * 7)

    sizes = {owner: unzipped for owner, (unzipped, _) in sizes_in(archive).items()}

    assert sizes["the engine"] == 11
    assert sizes["chalice"] == 7
    assert sizes["two-words"] >= 60


def test_a_start_is_judged_by_its_ratio():
    console = Console(record=True, width=200)
    show_cold_start(console, figures(start=0.6))

    assert "1.20" in console.export_text()
    assert "≤ 1.3 ✓" in report(figures(start=0.6)).text
    assert "≤ 1.3 ✗" in report(figures(start=0.7)).text
