"""Route 1: takes notes over HTTP and hands them, in batches, to the ledger over gRPC."""
