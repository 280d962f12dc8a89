"""Simulated Meteora, with its documented price range and fee."""

from decimal import Decimal

from chalicelib.venues.simulated.amm import SimulatedVenue, Simulation


def meteora(simulation: Simulation) -> SimulatedVenue:
    return SimulatedVenue(
        name="meteora",
        price_range=(Decimal("0.97"), Decimal("1.02")),
        fee=Decimal("0.002"),
        depth=Decimal(3_000_000),
        simulation=simulation,
    )
