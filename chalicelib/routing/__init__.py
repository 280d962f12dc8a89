"""Quotes side by side, their net prices, and the choice."""
