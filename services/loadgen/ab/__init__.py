"""The A/B comparison: the same load on two settings of the system, by turns, and which figures differ."""
