"""Measurements of the whole engine; each prints what it measured and how."""
