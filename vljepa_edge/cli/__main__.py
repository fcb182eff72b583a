"""`python -m vljepa_edge.cli`, the same as `vljepa`."""

from vljepa_edge.cli import main

main()
