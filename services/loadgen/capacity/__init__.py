"""Capacity: the highest rate of notes that meets the objectives, what gives in above it, and a page that says so."""
