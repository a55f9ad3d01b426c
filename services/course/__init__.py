"""What relay, ledger and direct share: the course note, group commit, HTTP, metrics, settings and life cycle."""
