"""`python -m groundrl.experiments.cli`, as torchrun needs it."""

from groundrl.experiments.cli.main import main

if __name__ == "__main__":
    main()
