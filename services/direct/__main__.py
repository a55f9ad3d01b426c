"""`python3 -m direct`: runs the service until SIGTERM."""

from direct.service import main

main()
