"""`python -m audit`: the command line without the installed script."""

from audit.cli import main

if __name__ == "__main__":
    main()
