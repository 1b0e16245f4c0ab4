"""`python -m minna`, which is what `torchrun -m minna` starts on every rank."""

from minna.cli.main import main

if __name__ == "__main__":
    main()
