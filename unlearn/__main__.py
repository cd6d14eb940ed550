"""`python -m unlearn`, which is what torchrun starts."""

from unlearn.commands.run import main

main()
