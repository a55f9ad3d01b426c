"""How many requests a load generator makes of a core, beside others: see ../README.md."""
