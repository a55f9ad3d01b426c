"""What survives: load tests during which faults are made, and what each fault did to those who post."""
