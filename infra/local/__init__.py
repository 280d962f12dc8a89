"""The engine on one machine: Postgres, Redis, an emulated AWS and a front door, each a child process."""
