"""Write ``docs/benchmarks.md``: what was measured, in tables and charts, on which machine, when, and how.

A part's section is replaced when that part is measured again, and stays as it was otherwise; each says when and where
it was measured, so that nobody takes two runs for one.
"""

import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

What the engine was measured to do. `make bench` measures all of it again and writes this page; `make bench ARGS=<part>`
measures one part and prints it, with `--write` here as well. `make bench-quick` compares the ratios that do not depend
on a machine with the recorded ones.

A ratio is always taken within one run: both sides of it on the same machine, minutes or milliseconds apart. Seconds and
orders a minute are of the machine that a section names; they say what happened there, not what AWS would do. Goals are
shown as they were set, ✓ where they were met and ✗ where they were not.
"""
MET, MISSED = "✓", "✗"
CHART_INCHES = (8.0, 4.0)


@dataclass(frozen=True)
class Chart:
    """A picture: ``draw`` gets the axes to draw on. It becomes ``docs/bench-<name>.svg``."""

    name: str
    draw: Callable[["Axes"], None]


@dataclass(frozen=True)
class Section:
    """What a part of the benchmarks has to say: Markdown, and charts that are shown below it."""

    title: str
    text: str
    charts: tuple[Chart, ...] = ()


def write_section(docs: Path, part: str, section: Section, order: Sequence[str]) -> None:
    """Put a part's section into the page, in place of the one it had, and draw its charts.

    Args:
        docs: The folder of the page.
        part: The part's name, by which its section is found again.
        section: What is to stand there.
        order: All parts' names, as their sections follow one another.
    """
    for chart in section.charts:
        draw(chart, docs)
    page = docs / PAGE
    sections = read_sections(page.read_text()) if page.exists() else {}
    sections[part] = written(section, f"Measured on {datetime.now(UTC):%Y-%m-%d}, {machine()}.")
    page.write_text(page_of(sections, order))


def read_sections(page: str) -> dict[str, str]:
    """Return the sections of a page by the names of their parts."""
    return dict(re.findall(r"<!-- part (\S+) -->\n(.*?)\n<!-- end -->", page, flags=re.DOTALL))


def page_of(sections: dict[str, str], order: Sequence[str]) -> str:
    """Return the whole page; sections of parts that there no longer are, are left out."""
    kept = [f"<!-- part {part} -->\n{sections[part]}\n<!-- end -->\n" for part in order if part in sections]
    return "\n".join([INTRODUCTION, *kept])


def written(section: Section, measured: str) -> str:
    """Return a section as Markdown, its charts below its text."""
    pictures = [f"![{chart.name}](bench-{chart.name}.svg)" for chart in section.charts]
    return "\n\n".join([f"## {section.title}", measured, section.text.strip(), *pictures])


def machine() -> str:
    """Say what this machine is, as far as it matters to what is measured."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    return (
        f"{cores} cores ({_processor()}), {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}, "
        f"{platform.machine()}"
    )


def _processor() -> str:
    """Return the processor's name, which only Linux's own list has."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"


def draw(chart: Chart, folder: Path) -> None:
    """Draw a chart into its file; the same figures give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.hashsalt": chart.name,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10.0,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=CHART_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        chart.draw(axes)
        file = folder / f"bench-{chart.name}.svg"
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    # Its lines end in blanks, which every look at a change would show.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def draw_shares(axes: "Axes", values: Sequence[float], **line: Any) -> None:
    """Draw which share of the values is no larger than how much, by percentiles: thousands would fill the file."""
    axes.ecdf(quantiles(values, n=100, method="inclusive") if len(values) > 1 else list(values), **line)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], numbers_from: int = 1) -> str:
    """Return a Markdown table; its columns from ``numbers_from`` on are aligned to the right."""
    alignments = ["---" if column < numbers_from else "---:" for column in range(len(headings))]
    return "\n".join(_line(cells) for cells in (headings, alignments, *rows))


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def shown(show: Callable[[Console], None]) -> str:
    """Return as Markdown the tables that a part prints, so that it need not write them twice."""
    console = _TableKeeper(file=None, quiet=True)
    show(console)
    return "\n\n".join(map(as_markdown, console.tables))


class _TableKeeper(Console):
    """Prints nothing, and keeps the tables that it was to print."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tables: list[Table] = []

    def print(self, *objects: Any, **_options: Any) -> None:
        self.tables += [shown for shown in objects if isinstance(shown, Table)]


def as_markdown(printed: Table) -> str:
    """Return a table of the terminal as a Markdown one, below its title."""
    headings = [_plain(column.header) for column in printed.columns]
    alignments = ["---:" if column.justify == "right" else "---" for column in printed.columns]
    rows = zip(*([_plain(cell) for cell in column.cells] for column in printed.columns), strict=True)
    lines = [_line(cells) for cells in (headings, alignments, *rows)]
    title = [f"**{_plain(printed.title)}**", ""] if printed.title else []
    return "\n".join([*title, *lines])


def _plain(cell: object) -> str:
    """Return a cell's text; a goal's colour becomes a sign, see ``bench.figures.judged``."""
    text = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
    colours = {str(span.style) for span in text.spans}
    sign = f" {MET}" if "green" in colours else f" {MISSED}" if "red" in colours else ""
    return text.plain + sign
