"""Quotes side by side, the choice, and what an order's conditions say to it."""
