"""Behind route 1: takes batches of notes over gRPC and stores them in MongoDB."""
