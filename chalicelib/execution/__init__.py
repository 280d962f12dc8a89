"""What moves an order from accepted to its end."""
