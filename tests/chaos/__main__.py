"""``make chaos``: the running stack under fire. Prints what became of every order; any difference is an error."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from itertools import accumulate
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from infra.local.stack import OWN_SERVERS, Stack
from tests.chaos.storm import EXECUTING_NOW, Storm

LONGEST_END = 120.0
OUTAGE = 10.0
IN_FLIGHT = 50
RECOVERED_WITHIN = 20.0
QUICK = 1.0
RATE = 100
BURST = 5
"""The tolerance of pacing: three seconds' worth of orders."""
_STARTS = """
    SELECT id, extract(epoch FROM started.created_at), extract(epoch FROM orders.updated_at)
    FROM orders JOIN order_events AS started ON started.order_id = orders.id AND started.event = 'routing'
    ORDER BY orders.created_at
    OFFSET 20
"""
FAULTS = {
    "quote_fails": 0.05,
    "dropped": 0.05,
    "lands_failed": 0.05,
    "lands_late": 0.05,
    "answer_lost": 0.05,
    "transaction_lifetime": 8,
}
console = Console()


def settings(rate: int = 0) -> dict[str, str]:
    """Return a stack's settings: servers of its own, documented delays."""
    return {**OWN_SERVERS, "ORDER_PROCESSOR_RATE": str(rate), "USER_ORDER_RATE": "0", "MOCK_LATENCY": "1"}


def kills(folder: Path) -> list[str]:
    """300 orders while workers are killed, messages come twice, the chain misbehaves, and servers restart."""
    chance = random.Random(1)
    with Stack(port=0, data_dir=folder, environment=settings()) as stack, Storm(stack) as storm:
        storm.set_faults(**FAULTS)

        def deliver_twice() -> None:
            done = [placed for placed in storm.accepted if placed.done()]
            if done:
                storm.deliver_twice(chance.choice(done).result())

        with storm.meanwhile(lambda: storm.kill_a_worker(chance), 4.0), storm.meanwhile(deliver_twice, 0.3):
            storm.place(100, over_seconds=15)
            stack.services["postgres"].restart()
            storm.place(100, over_seconds=15)
            stack.services["redis"].restart()
            storm.place(100, over_seconds=15)
            accepted = storm.order_ids()
        took = storm.wait_for_the_end(LONGEST_END)
        return report(storm, len(accepted), f"all ended {took:.0f} s after the last kill")


def outages(folder: Path) -> list[str]:
    """Postgres, Redis and SQS gone for ten seconds, one at a time, with 50 orders in flight."""
    problems = []
    with Stack(port=0, data_dir=folder, environment=settings()) as stack, Storm(stack) as storm:
        storm.place(20)
        storm.order_ids()
        storm.wait_for_the_end(LONGEST_END)
        for part in ("postgres", "redis", "sqs"):
            storm.place(IN_FLIGHT)
            time.sleep(1.0)
            if part == "sqs":
                with storm.without_sqs():
                    time.sleep(OUTAGE)
            else:
                stack.services[part].process.kill()
                times = storm.post_times(5, HTTPStatus.SERVICE_UNAVAILABLE if part == "postgres" else HTTPStatus.OK)
                if max(times) > QUICK:
                    problems.append(f"{part} away: a POST took {max(times):.1f} s")
                time.sleep(OUTAGE - sum(times))
                stack.services[part].restart()
            accepted = storm.order_ids()
            took = storm.wait_for_the_end(LONGEST_END)
            problems += report(storm, len(accepted), f"{part} away for {OUTAGE:.0f} s; all ended {took:.1f} s later")
    return problems


def power_cut(folder: Path) -> list[str]:
    """Everything killed at once in the middle of 50 orders; the next start has to end them all in 20 s."""
    with Stack(port=0, data_dir=folder, environment=settings()) as stack, Storm(stack) as storm:
        storm.place(20)
        storm.order_ids()
        storm.wait_for_the_end(LONGEST_END)
        storm.place(IN_FLIGHT)
        time.sleep(1.5)
        for service in stack.services.values():
            service.process.kill()
        acknowledged = storm.give_up()
    with Stack(port=0, data_dir=folder, environment=settings()) as stack, Storm(stack) as again:
        took = again.wait_for_the_end(LONGEST_END)
        # A client that got no answer may have an order all the same.
        orders = again.query("SELECT count(*) FROM orders")[0]
        problems = report(again, orders, f"all ended {took:.1f} s after the next start was ready")
        if orders < acknowledged:
            problems.append(f"{acknowledged} orders were acknowledged, {orders} are there")
        if took > RECOVERED_WITHIN:
            problems.append(f"they ended {took:.1f} s after the start; {RECOVERED_WITHIN:.0f} s are allowed")
        return problems


def killed_worker(folder: Path) -> list[str]:
    """One worker killed while it executes: its order has to move on within 20 s."""
    with Stack(port=0, data_dir=folder, environment=settings()) as stack, Storm(stack) as storm:
        chance = random.Random(1)
        storm.place(5)
        storm.order_ids()
        storm.wait_for_the_end(LONGEST_END)
        storm.place(20)
        while storm.query(EXECUTING_NOW)[0] < 3:
            time.sleep(0.01)
        for _ in range(5):
            storm.kill_a_worker(chance)
        accepted = storm.order_ids()
        took = storm.wait_for_the_end(LONGEST_END)
        problems = report(storm, len(accepted), f"five workers killed at once; all ended {took:.1f} s later")
        if took > RECOVERED_WITHIN + 3:
            problems.append(f"they ended {took:.1f} s after the kill; moving on may take {RECOVERED_WITHIN:.0f} s")
        return problems


def flood(folder: Path) -> list[str]:
    """200 orders at once at a rate of 100 a minute: they start evenly, in order of arrival, and hold no slot."""
    with Stack(port=0, data_dir=folder, environment=settings(RATE)) as stack, Storm(stack) as storm:
        most = 0

        def count_executing() -> None:
            nonlocal most
            most = max(most, storm.query(EXECUTING_NOW)[0])

        storm.place(20)  # cold starts would be measured as late starts
        storm.order_ids()
        storm.wait_for_the_end(LONGEST_END)
        with storm.meanwhile(count_executing, 0.05):
            storm.place(200)
            accepted = storm.order_ids()
            storm.wait_for_the_end(LONGEST_END * 2)
        with psycopg.connect(stack.database_url) as connection:
            rows = connection.execute(_STARTS).fetchall()
        starts = [float(start) for _, start, _ in rows]
        ends = sorted(float(end) for *_, end in rows)
        problems = report(storm, len(accepted), f"at most {most} executing at once")
        in_six_seconds = max(sum(start <= other < start + 6 for other in starts) for start in starts)
        rate = (len(ends) - 1) / (ends[-1] - ends[0]) * 60
        overtaken = max(latest - start for latest, start in zip(accumulate(starts, max), starts, strict=True))
        console.print(f"  most starts in 6 s: {in_six_seconds}; confirmed a minute: {rate:.1f}")
        console.print(f"  furthest start before that of any order that had come earlier: {overtaken:.1f} s")
        if in_six_seconds > RATE / 10 + BURST:
            problems.append(f"{in_six_seconds} orders started within 6 s")
        if abs(rate - RATE) > RATE * 0.05:
            problems.append(f"{rate:.1f} orders a minute were confirmed instead of {RATE}")
        if overtaken > 2:
            problems.append(f"an order started {overtaken:.1f} s before one that had come earlier")
        if most > 10:
            problems.append(f"{most} orders executed at once")
        return problems


def report(storm: Storm, accepted: int, what: str) -> list[str]:
    """Print the figures; return what is not as it must be."""
    verdict = storm.verdict()
    problems = verdict.differences(accepted)
    table = Table(title=what, title_justify="left", show_header=False)
    table.add_row("accepted / ended", f"{accepted} / {verdict.confirmed + verdict.failed}")
    table.add_row("confirmed / failed", f"{verdict.confirmed} / {verdict.failed}")
    table.add_row("confirmed whose swap did not land exactly once", str(verdict.confirmed_not_once))
    table.add_row("not confirmed, yet a swap landed", str(verdict.swapped_unconfirmed))
    table.add_row("orders with a gap in seq", str(verdict.gaps))
    table.add_row("unfinished / swaps in flight", f"{verdict.unfinished} / {verdict.in_flight}")
    table.add_row("retries", str(verdict.retries))
    console.print(table)
    return problems


SCENARIOS: dict[str, Callable[[Path], list[str]]] = {
    scenario.__name__: scenario for scenario in (kills, outages, power_cut, killed_worker, flood)
}


def main() -> int:
    """Run the scenarios; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="by default all")
    chosen = parser.parse_args().scenarios or list(SCENARIOS)
    problems: list[str] = []
    for name in chosen:
        console.rule(f"{name}: {SCENARIOS[name].__doc__}", align="left")
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            problems += [f"{name}: {problem}" for problem in SCENARIOS[name](Path(folder))]
    for problem in problems:
        console.print(problem, style="bold red", markup=False)
    if not problems:
        console.print("Nothing lost, nothing swapped twice.", style="bold green")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
