"""The venues and their chain as a simulation: real delays, prices, fees and failures, no money."""
