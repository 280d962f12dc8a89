"""What a cold start pays: each function's start against the packages that it cannot do without, and the package's size.

A function's start is what its process does before its first event: import ``app``, and open its clients as far as that
goes without the network. It is compared with a process that only imports the same packages of others and opens the same
clients, so that what remains is the engine's own doing. Both run in turn. What counts is processor time, of which
importing takes about as much as it lasts, and which what else runs here changes less; a ratio is the median of pairs.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console

from bench.figures import judged, table_with_goals
from bench.report import Chart, Section, shown, table
from chalicelib.config import SET_BY_THE_TEMPLATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROJECT = Path(__file__).parents[1]
ROUNDS = 5
RATIO_GOAL = 1.3
PACKAGES_SHOWN = 6
ENGINE, STANDARD_LIBRARY = "the engine", "Python's own"
"""What imports are counted under that no other package has to answer for."""
NO_DISTRIBUTION = {"app.py": ENGINE, "chalicelib": ENGINE}

# Nothing listens on port 1: opening a client connects to nothing.
_REDIS = "redis://127.0.0.1:1/0"
_FRAMEWORK = """
import chalice.app, msgspec
from aws_lambda_powertools import Logger
"""
_TOKENS = "import jwt\n"
_RESOURCES = f"""
import psycopg, psycopg.rows, psycopg.types.json
import redis, redis.backoff, redis.credentials, redis.retry
redis.ConnectionPool.from_url("{_REDIS}").make_connection()
import ssl, urllib3
urllib3.PoolManager(ssl_context=ssl.create_default_context())
"""
UNAVOIDABLE = {"authorize": _FRAMEWORK + _TOKENS}
"""What a function cannot do without of others' packages, by its name; the others need ``ALL_OTHERS``."""
ALL_OTHERS = _FRAMEWORK + _RESOURCES
_TIMED = "import time\nbegun = time.process_time()\n{}\nprint(time.process_time() - begun)"


@dataclass(frozen=True, kw_only=True)
class Start:
    """A function's start; processor times in seconds."""

    function: str
    starts: Sequence[float]
    unavoidable: Sequence[float]
    """Of importing only what it cannot do without, each right before the start in the same place."""
    imports: Mapping[str, float]
    """What each package's modules took by themselves, the slowest package first."""

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios: a machine that is slower for a while slows both of a pair."""
        return median(start / alone for start, alone in zip(self.starts, self.unavoidable, strict=True))


@dataclass(frozen=True, kw_only=True)
class ColdStartFigures:
    """How each function starts, and what its package weighs in bytes: unzipped and zipped, by dependency."""

    rounds: int
    starts: Sequence[Start]
    sizes: Mapping[str, tuple[int, int]]


def functions() -> list[str]:
    """Return the names of all functions that are deployed."""
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    return list(config["lambda_functions"])


def measure_cold_start(
    archive: Path, names: Sequence[str] = (), rounds: int = ROUNDS, progress: Callable[[str], object] = lambda _: None
) -> ColdStartFigures:
    """Measure the starts of these functions, by default of all, and what is in the package."""
    starts = measure_starts(names or functions(), rounds, progress)
    return ColdStartFigures(rounds=rounds, starts=starts, sizes=sizes_in(archive))


def measure_starts(
    names: Sequence[str], rounds: int = ROUNDS, progress: Callable[[str], object] = lambda _: None
) -> list[Start]:
    """Start each function in ``rounds`` fresh processes, each after one that imports what it cannot do without."""
    starts: dict[str, list[float]] = {name: [] for name in names}
    unavoidable: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="bench-") as bytecode:
        for number in range(rounds + 1):
            progress(f"Starting {len(names)} functions, {number} of {rounds}")
            for name in names:
                unavoidable[name].append(_time(UNAVOIDABLE.get(name, ALL_OTHERS), environment_of("", bytecode)))
                starts[name].append(_time("import app", environment_of(name, bytecode)))
        return [
            Start(
                function=name,
                # The first ones compiled what is in the package compiled.
                starts=starts[name][1:],
                unavoidable=unavoidable[name][1:],
                imports=_import_times(environment_of(name, bytecode)),
            )
            for name in names
        ]


def environment_of(function: str, bytecode: str) -> dict[str, str]:
    """Return the variables that a function's process starts with; of none, those of a process of others' packages.

    ``bytecode`` is a folder for what Python compiles, whatever this process's environment says of that.
    """
    plain = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONPYCACHEPREFIX": bytecode,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    if not function:
        return plain
    return {
        **plain,
        **dict.fromkeys(SET_BY_THE_TEMPLATE, "http://127.0.0.1:1/queue"),
        "PARTIAL_BATCH_FAILURES": "true",
        "AUTH_MODE": "open",
        "REDIS_URL": _REDIS,
        "MANAGEMENT_API_URL": "http://127.0.0.1:1",
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "_HANDLER": f"app.{function}",
    }


def _time(statements: str, environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-c", _TIMED.format(statements)]
    return float(subprocess.check_output(command, cwd=PROJECT, env=environment, text=True))


def _import_times(environment: Mapping[str, str]) -> dict[str, float]:
    command = [sys.executable, "-X", "importtime", "-c", "import app"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    return by_package(done.stderr)


def by_package(report: str) -> dict[str, float]:
    """Return from Python's report of imports what each package's modules took by themselves, the slowest first."""
    seconds: dict[str, float] = defaultdict(float)
    for microseconds, module in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", report, re.MULTILINE):
        top = module.partition(".")[0]
        package = (
            ENGINE if top in ("app", "chalicelib") else STANDARD_LIBRARY if top in sys.stdlib_module_names else top
        )
        seconds[package] += int(microseconds) / 1e6
    return dict(sorted(seconds.items(), key=lambda item: item[1], reverse=True))


def sizes_in(archive: Path) -> dict[str, tuple[int, int]]:
    """Return how many bytes each dependency has in a package, unzipped and zipped, the largest first.

    Which files are whose is what their installer wrote down; what has no such record goes by its folder.
    """
    with zipfile.ZipFile(archive) as package:
        owners = _owners(package)
        sizes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for entry in package.infolist():
            owner = owners.get(entry.filename) or _owner_by_folder(entry.filename, owners)
            sizes[owner][0] += entry.file_size
            sizes[owner][1] += entry.compress_size
    ordered = sorted(sizes.items(), key=lambda item: item[1][1], reverse=True)
    return {owner: (unzipped, zipped) for owner, (unzipped, zipped) in ordered}


def _owners(package: zipfile.ZipFile) -> dict[str, str]:
    """Return which distribution each file is of."""
    owners = {}
    for name in package.namelist():
        if record := re.fullmatch(r"([^/]+?)-[^-/]+\.dist-info/RECORD", name):
            for line in package.read(name).decode().splitlines():
                owners[line.split(",")[0].strip('"')] = record[1].replace("_", "-")
    return owners


def _owner_by_folder(file: str, owners: Mapping[str, str]) -> str:
    """Return whose a file without a record is, such as bytecode: its module's, else its folder's."""
    module = re.sub(r"__pycache__/([^/]+?)\.cpython-\d+\.pyc$", r"\1.py", file)
    top = file.partition("/")[0]
    return owners.get(module) or NO_DISTRIBUTION.get(module.partition("/")[0]) or top


def show_cold_start(console: Console, figures: ColdStartFigures) -> None:
    """Print the figures as tables."""
    printed = table_with_goals("Start of each function, medians", "start", "unavoidable", "ratio")
    for start in figures.starts:
        printed.add_row(
            start.function,
            f"{median(start.starts) * 1000:.0f} ms",
            f"{median(start.unavoidable) * 1000:.0f} ms",
            f"{start.ratio:.2f}",
            judged(f"≤ {RATIO_GOAL}", start.ratio <= RATIO_GOAL),
            f"of {figures.rounds} processes each, in turn",
        )
    console.print(printed)
    sizes = table_with_goals("Package by dependency", "unzipped", "zipped")
    for owner, (unzipped, zipped) in _largest(figures.sizes).items():
        sizes.add_row(owner, f"{unzipped / 1e6:.1f} MB", f"{zipped / 1e6:.2f} MB", "", "")
    console.print(sizes)


def _largest(sizes: Mapping[str, tuple[int, int]], shown: int = 10) -> dict[str, tuple[int, int]]:
    """Return the largest dependencies, what remains, and all together."""
    largest = dict(list(sizes.items())[:shown])
    rest = [size for owner, size in sizes.items() if owner not in largest]
    together = {f"{len(rest)} others": rest} if rest else {}
    together["all"] = list(sizes.values())
    summed = {name: (sum(size[0] for size in part), sum(size[1] for size in part)) for name, part in together.items()}
    return {**largest, **summed}


def report(figures: ColdStartFigures) -> Section:
    """Say it on the page of benchmarks."""
    heaviest = [[start.function, _top_imports(start)] for start in figures.starts]
    text = f"""\
A function's process starts: it imports `app`, and opens its clients as far as that goes without the network. Beside it,
in turn, a process that only imports the packages of others that this function cannot do without (Chalice, msgspec,
Powertools' logger; psycopg, redis and urllib3; the authorizer PyJWT instead of those), and opens the same
clients. Both are measured in processor time, which other work on this machine changes as well, but less;
so a start is divided by the other process's right before it, and the median of these ratios counts. Python's own start
is in neither, nor is what a function imports only when it is first needed, such as the migrations.

{shown(lambda console: show_cold_start(console, figures))}

**Import by package**, each one's own modules, as `python -X importtime` sees them (it slows imports down a little):

{table(["function", "slowest first"], heaviest, numbers_from=2)}
"""
    charts = (
        Chart("cold-start", lambda axes: _draw_starts(axes, figures.starts)),
        Chart("package", lambda axes: _draw_sizes(axes, figures.sizes)),
    )
    return Section("Cold start", text, charts)


def _top_imports(start: Start) -> str:
    slowest = list(start.imports.items())[:PACKAGES_SHOWN]
    return ", ".join(f"{package} {seconds * 1000:.0f} ms" for package, seconds in slowest)


def _draw_starts(axes: "Axes", starts: Collection[Start]) -> None:
    names = [start.function for start in starts]
    left = [0.0] * len(names)
    totals: dict[str, float] = defaultdict(float)
    for start in starts:
        for package, seconds in start.imports.items():
            totals[package] += seconds
    shown_packages = sorted(totals, key=lambda package: totals[package], reverse=True)[: PACKAGES_SHOWN + 2]
    for package in [*shown_packages, "others"]:
        widths = [
            1000 * (start.imports.get(package, 0.0) if package != "others" else _others(start, shown_packages))
            for start in starts
        ]
        axes.barh(names, widths, left=left, label=package)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("ms to import")
    axes.legend(fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _others(start: Start, named: Collection[str]) -> float:
    return sum(seconds for package, seconds in start.imports.items() if package not in named)


def _draw_sizes(axes: "Axes", sizes: Mapping[str, tuple[int, int]]) -> None:
    largest = {owner: size for owner, size in _largest(sizes).items() if owner != "all"}
    axes.barh(list(largest), [zipped / 1e6 for _, zipped in largest.values()])
    axes.invert_yaxis()
    axes.set_xlabel("MB in the zip")
