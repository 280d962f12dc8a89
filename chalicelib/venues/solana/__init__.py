"""Solana, which the real venues swap on: imported with them only."""
