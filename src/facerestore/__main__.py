"""`python -m facerestore`."""

from facerestore.cli import main

if __name__ == "__main__":
    main()
