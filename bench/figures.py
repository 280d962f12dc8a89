"""What the benchmarks' tables have in common."""

from collections.abc import Sequence
from statistics import quantiles

from rich.table import Table


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


def milliseconds(seconds: Sequence[float]) -> str:
    """Write down median, 99th percentile and maximum, such as ``1.2 / 3.4 / 5.6 ms``."""
    numbers = (*percentiles(seconds), max(seconds) * 1000)
    return " / ".join(f"{number:,.0f}" if number >= 100 else f"{number:.1f}" for number in numbers) + " ms"


def table_with_goals(title: str, *values: str) -> Table:
    """Return an empty table: what was measured, ``values``, the goal, and how it was measured."""
    table = Table(title=title)
    table.add_column("measured")
    for value in values:
        table.add_column(value, justify="right")
    table.add_column("goal")
    table.add_column("how", style="dim")
    return table


def judged(text: str, met: bool) -> str:
    """Colour a goal by whether it was met."""
    return f"[{'green' if met else 'red'}]{text}[/]"
