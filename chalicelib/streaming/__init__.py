"""Who listens to what, and how each event reaches every listener in order."""
