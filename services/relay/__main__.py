"""`python3 -m relay`: runs the service until SIGTERM."""

from relay.service import main

main()
