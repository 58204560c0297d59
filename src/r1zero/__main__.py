"""`python -m r1zero` is `r1zero`."""

from r1zero.cli import main

if __name__ == "__main__":
    main()
