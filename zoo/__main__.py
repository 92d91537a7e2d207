"""python -m zoo: the same as the `zoo` command."""

from zoo.cli.main import main

main()
