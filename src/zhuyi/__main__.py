"""`python -m zhuyi` is the command `zhuyi`."""

from zhuyi.cli import main

main()
