"""`python3 -m reader`: runs the service until SIGTERM."""

from reader.service import main

main()
