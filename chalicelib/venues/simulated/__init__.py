"""Raydium, Meteora and the chain as a simulation: real delays, prices, fees and failures, no money."""
