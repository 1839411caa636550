"""`python -m ownhost` is the `ownhost` command."""

from ownhost.admin.cli import main

if __name__ == "__main__":
    main()
