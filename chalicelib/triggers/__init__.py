"""Orders that wait: what wakes them, and what ends their waiting."""
