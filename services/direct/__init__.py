"""Route 2: takes notes over HTTP and stores them in MongoDB, then counts them in Redis."""
