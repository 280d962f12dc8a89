"""What an order is and how it may change: pure values and rules, no AWS, SQL or Redis."""
