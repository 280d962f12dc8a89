"""Two scenes on a running stack: market orders, and orders that wait."""
