"""Saves what the databases hold, while they serve, and loads it again."""
