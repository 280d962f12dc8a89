"""Where swaps happen: one protocol, and the venues that speak it."""
