"""Who listens to what, and how each event reaches every listener once and in order."""
