"""Which message goes onto which queue, when it is delivered, and what becomes of it."""
