"""``python -m flprivacy``: the command line, where its script is not on the path."""

from flprivacy.cli import main

if __name__ == "__main__":
    main()
