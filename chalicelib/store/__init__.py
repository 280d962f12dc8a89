"""Postgres: the truth about every order. The engine's SQL is here; its simulated venues have their own tables."""
