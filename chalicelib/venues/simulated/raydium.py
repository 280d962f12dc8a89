"""Simulated Raydium, with its documented price range and fee."""

from decimal import Decimal

from chalicelib.venues.simulated.amm import SimulatedVenue, Simulation


def raydium(simulation: Simulation) -> SimulatedVenue:
    return SimulatedVenue(
        name="raydium",
        price_range=(Decimal("0.98"), Decimal("1.02")),
        fee=Decimal("0.003"),
        depth=Decimal(5_000_000),
        simulation=simulation,
    )
