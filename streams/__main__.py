"""`python -m streams` is `foremesh`."""

from streams.cli import main

main()
