"""The engine: all that ships to Lambda. Imports point one way, which contracts in ``pyproject.toml`` hold."""
