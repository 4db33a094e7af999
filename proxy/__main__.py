"""`python -m proxy` is the command `keepwarm`."""

from proxy.cli import main

main()
