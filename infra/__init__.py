"""How the engine reaches a cloud, a real one or the emulated one: packaging, deploying, migrating."""
