"""The command ``oee``: what the client does, at a terminal and in scripts."""
