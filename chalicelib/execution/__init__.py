"""What moves an order: taken in, executed, settled, cancelled, recovered, and at worst buried."""
