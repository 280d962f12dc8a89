"""The engine: all that ships to Lambda. Imports point one way, which contracts in ``pyproject.toml`` hold."""

VERSION = "0.1.0"
"""The project's, as in ``pyproject.toml``, which does not ship."""
