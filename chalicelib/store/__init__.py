"""Postgres: the truth about every order. All of the engine's SQL is here."""
