"""Simulated Orca: what a third venue costs is this file and a line in ``Engine.venues``."""

from decimal import Decimal

from chalicelib.venues.simulated.amm import SimulatedVenue, Simulation


def orca(simulation: Simulation) -> SimulatedVenue:
    return SimulatedVenue(
        name="orca",
        price_range=(Decimal("0.975"), Decimal("1.02")),
        fee=Decimal("0.0025"),
        depth=Decimal(4_000_000),
        simulation=simulation,
    )
