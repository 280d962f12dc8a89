"""Write ``docs/scaling.md``: what growth was measured and simulated to need, in the words of ``bench/scaling.md``."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from string import Template
from textwrap import wrap

from bench import limits as sources
from bench import sizing
from bench.cost import MILLION
from bench.footprint import show_footprint
from bench.growth import RATES, GrowthFigures, charts, rounded, show_demands
from bench.limits import STORAGE_IOPS, SWAP_CALLS, Appetite, Limit, Source, limits_of
from bench.report import draw, shown, table
from bench.sizing import (
    ARCHIVED_PRICE,
    BESIDES,
    BINARY_GIGABYTE,
    DATABASES,
    ENDPOINTS,
    MONTH_HOURS,
    REPLICA,
    Size,
    bill,
    days_until_full,
    endpoint_dollars,
    endpoint_rate,
    size_for,
    storage_dollars,
)
from chalicelib.config import PRIORITY_SLOTS
from infra.local.stack import PROJECT

PAGE = PROJECT / "docs" / "scaling.md"
TEMPLATE = Path(__file__).with_name("scaling.md")
STEPS = (100, 1_000, 10_000, 100_000, 1_000_000)
NEAR = 1.25
"""How far above a step a limit may be that has to be raised for it."""
LISTS_AN_ORDER = 10
"""How many pages of lists are read for each order placed: an estimate."""
REPLICA_USE = 0.6
"""How busy a replica's cores may be with them."""
SPANS = {"a month": 30.0, "a week": 7.0, "a day": 1.0, "six hours": 0.25, "an hour": 1 / 24}
PARTITION_BYTES = 50e9
"""What fits into the memory of a server."""


def write_scaling(figures: GrowthFigures, page: Path = PAGE) -> None:
    """Write the page from its template, and its charts."""
    page.write_text(Template(TEMPLATE.read_text()).substitute(scaling_values(figures)))
    for chart in charts(figures):
        draw(chart, page.parent)


def scaling_values(figures: GrowthFigures) -> dict[str, str]:
    """Return what the template's names stand for."""
    order, left = figures.appetite, figures.footprint
    sizes = [size_for(rate, order) for rate in STEPS]
    return {
        **_simulation_values(figures),
        **{f"passed_{after}": passed for after, passed in _passed(limits_of(order)).items()},
        "limits": _limits(limits_of(order)),
        "demands": shown(lambda console: show_demands(console, figures.demands)),
        "settings": _settings(sizes),
        "bill": _bill(sizes, figures),
        "swap_calls": _wrapped(", ".join(f"`{method}`" for method in SWAP_CALLS)),
        "looks": f"{order.looks:.1f}",
        "calls": f"{order.calls:.1f}",
        "credits": f"{order.credits:.0f}",
        "credit_dollars": f"{order.credits * sizing.CREDIT_PRICE * MILLION:,.0f}",
        "endpoints": _endpoints(order),
        "cost": shown(lambda console: show_footprint(console, left)),
        "growth": _growth(order),
        "partitions": table(
            ("orders a minute", "partition", "orders in one", "size of one", "kept", "partitions"),
            [_partition(rate, order) for rate in RATES],
            numbers_from=2,
        ),
        "retention": _retention(order),
        "replicas": _replicas(order),
        "list_ms": f"{left.list_seconds * 1000:.1f}",
        "order_kb": f"{left.disk_bytes / 1000:.1f}",
        "full_days": f"{days_until_full(100, order):,.0f}",
        "row_order": f"{left.tables['orders'].row:,.0f}",
        "row_event": f"{left.tables['order_events'].row:,.0f}",
        "row_swap": f"{left.tables['swaps'].row:,.0f}",
        "events": f"{left.tables['order_events'].rows:.0f}",
        "log_kb": f"{left.log_bytes / 1000:.1f}",
        "delete_hours": f"{10_000 * 24 * 60 * left.commits / STORAGE_IOPS / 3600:,.1f}",
        "writer_rate": rounded(DATABASES[-1].cores / left.database_seconds / BESIDES * 60),
        "sources": _sources(),
        "read": sources.READ,
    }


def _simulation_values(figures: GrowthFigures) -> dict[str, str]:
    slot = figures.appetite.slot
    return {
        "checked_orders": str(figures.checked.orders),
        "real_rate": f"{figures.checked.confirmed_per_minute:,.0f}",
        "simulated_rate": f"{figures.simulated.per_minute:,.0f}",
        "deviation": f"{figures.deviation:+.1%}",
        "slot_ms": f"{(slot - figures.times.handover) * 1000:.0f}",
        "handover_ms": f"{figures.times.handover * 1000:.0f}",
        "slots": str(figures.slots),
        "slot_limit": f"{figures.slots / slot * 60:,.0f}",
        "all_slots_limit": f"{(figures.slots + PRIORITY_SLOTS) / slot * 60:,.0f}",
    }


def _limits(limits: Sequence[Limit]) -> str:
    return table(
        ("what ends", "there is", "an order takes", "orders a minute", "what to raise", "source"),
        [
            (
                limit.supply.name,
                limit.supply.there_is,
                limit.each,
                rounded(limit.reached),
                limit.supply.raise_it,
                _cited(limit.supply.source),
            )
            for limit in limits
        ],
        numbers_from=9,
    )


def _passed(limits: Sequence[Limit]) -> dict[int, str]:
    """Return for each step which limits are passed on the way to it, or come near, first to last."""
    return {
        to: _wrapped(
            "; ".join(
                f"{limit.supply.name} ({rounded(limit.reached)})"
                for limit in limits
                if after < limit.reached / NEAR <= to
            )
            or "nothing"
        )
        for after, to in pairwise((0, *STEPS))
    }


def _settings(sizes: Sequence[Size]) -> str:
    return table(
        (
            "orders a minute",
            "`OrdersMaxConcurrent`",
            "`QueueMaxConcurrent`",
            "`settle_orders` at once",
            "Lambda processes",
            "`DatabaseInstanceClass`",
            "Redis nodes with scripts",
        ),
        [
            (
                f"{size.rate:,}",
                f"{size.slots:,}",
                f"{size.executing_at_once:,}",
                f"{size.settlers:,}",
                f"{size.processes:,}",
                size.database.name if size.writers == 1 else f"{size.writers} × {size.database.name}",
                str(size.redis),
            )
            for size in sizes
        ],
        numbers_from=0,
    )


def _bill(sizes: Sequence[Size], figures: GrowthFigures) -> str:
    rows = []
    for size in sizes:
        parts = bill(size, figures.usage)
        total = sum(parts.values())
        orders = size.rate * sizing.MONTH_MINUTES
        rows.append(
            (
                f"{size.rate:,}",
                f"{orders / MILLION:,.1f} M",
                *(f"${dollars:,.0f}" for dollars in parts.values()),
                f"${total:,.0f}",
                f"${total / orders * MILLION:,.0f}",
            )
        )
    parts_paid = bill(sizes[0], figures.usage)
    return table(
        ("orders a minute", "orders a month", *parts_paid, "a month in all", "a million orders"), rows, numbers_from=0
    )


def _endpoints(order: Appetite) -> str:
    rows = []
    for endpoint in ENDPOINTS:
        rate = endpoint_rate(endpoint, order)
        by = "calls" if endpoint.calls / order.calls < endpoint.sends else "sendings"
        rows.append(
            (
                endpoint.name,
                f"{endpoint.calls:,.0f}",
                f"{endpoint.sends:,.0f}",
                f"{rounded(rate)}, by its {by}",
                f"${endpoint.dollars:,.0f}",
                f"${endpoint_dollars(endpoint, rate, order):,.0f}",
            )
        )
    headings = ("endpoint", "calls a second", "sendings", "swaps a minute", "a month", "at that rate all month")
    return table(headings, rows)


def _growth(order: Appetite) -> str:
    left = order.footprint
    return table(
        ("orders a minute", "commits/s", "log MB/s", "Postgres cores", "new on disk", "until 200 GiB are full"),
        [
            (
                f"{rate:,}",
                f"{rate / 60 * left.commits:,.0f}",
                f"{rate / 60 * left.log_bytes / 1e6:,.2f}",
                f"{rate / 60 * left.database_seconds:,.2f}",
                f"{size(rate * 1440 * left.disk_bytes)} a day",
                _span(days_until_full(rate, order)),
            )
            for rate in RATES
        ],
        numbers_from=0,
    )


def _span(days: float) -> str:
    return (
        f"{days:,.0f} days" if days >= 2 else f"{days * 24:,.0f} hours" if days >= 1 / 12 else f"{days * 1440:,.0f} min"
    )


def _partition(rate: int, order: Appetite) -> tuple[str, ...]:
    """Return the longest span of time whose orders fit into the memory of a server."""
    a_day = rate * 24 * 60
    each = order.footprint.disk_bytes
    name = next((name for name, days in SPANS.items() if a_day * days * each <= PARTITION_BYTES), "an hour")
    days, kept = SPANS[name], size_for(rate, order).kept_days
    return (
        f"{rate:,}",
        name,
        f"{a_day * days:,.0f}",
        size(a_day * days * each),
        f"{kept} day{'s' * (kept > 1)}",
        f"{math.ceil(kept / days):,}",
    )


def _retention(order: Appetite) -> str:
    """Return how long what stays in Postgres, and what the rest of a year takes in the archive, as it is."""
    rows = []
    for sized in (size_for(rate, order) for rate in STEPS):
        a_year = sized.rate * 24 * 60 * 365 * order.footprint.disk_bytes
        rows.append(
            (
                f"{sized.rate:,}",
                f"{sized.kept_days}",
                size(sized.stored),
                f"${storage_dollars(sized):,.0f}",
                size(a_year),
                f"${a_year / BINARY_GIGABYTE * ARCHIVED_PRICE:,.0f}",
            )
        )
    headings = ("orders a minute", "days in Postgres", "are", "a month", "a year in S3 at most", "a month then")
    return table(headings, rows, numbers_from=0)


def _replicas(order: Appetite) -> str:
    left = order.footprint
    rows = []
    for rate in STEPS:
        a_second = rate / 60
        writes = a_second * left.database_seconds * BESIDES
        reads = a_second * LISTS_AN_ORDER * left.list_seconds * BESIDES
        replicas = math.ceil(reads / (REPLICA.cores * REPLICA_USE)) if reads >= writes / 3 and reads >= 1 else 0
        rows.append(
            (
                f"{rate:,}",
                f"{a_second * LISTS_AN_ORDER:,.0f}",
                f"{writes:,.2f}",
                f"{reads:,.2f}",
                f"{replicas:,}",
                f"${replicas * REPLICA.dollars * MONTH_HOURS:,.0f}",
            )
        )
    headings = (
        "orders a minute",
        "pages of lists a second",
        "cores for writes",
        "cores for lists",
        f"replicas, {REPLICA.name}",
        "a month",
    )
    return table(headings, rows, numbers_from=0)


def _sources() -> str:
    """Return every number's origin, once each, and whether it was checked there."""
    known = dict.fromkeys(
        source
        for module in (sources, sizing)
        for source in vars(module).values()
        if isinstance(source, Source) and source.kind != sources.OURS
    )
    return table(
        ("what is said", "where", "from"),
        [
            (source.says, " and ".join(map(_link, source.where.split(" and "))), source.kind)
            for source in sorted(known, key=lambda source: _KINDS.index(source.kind))
        ],
        numbers_from=3,
    )


_KINDS = (sources.PUBLISHER, sources.SECOND_HAND, sources.UNCHECKED)


def size(amount: float) -> str:
    """Write down so many bytes, such as ``1.2 GB``."""
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 1000 or unit == "TB":
            break
    return f"{amount:,.1f} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def _wrapped(text: str) -> str:
    return "\n".join(wrap(text, 119, break_long_words=False, break_on_hyphens=False))


def _cited(source: Source) -> str:
    mark = {sources.SECOND_HAND: ", second hand", sources.UNCHECKED: ", not checked"}.get(source.kind, "")
    return _link(source.where) + mark


def _link(where: str) -> str:
    return f"[{where.split('/')[2]}]({where})" if where.startswith("https:") else f"`{where}`"
