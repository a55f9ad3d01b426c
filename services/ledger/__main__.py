"""`python3 -m ledger`: runs the service until SIGTERM."""

from ledger.service import main

main()
