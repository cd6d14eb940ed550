"""`python -m unlearn`, which is what torchrun starts."""

from unlearn.cli import main

main()
