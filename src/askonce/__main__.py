"""`python -m askonce` is the command `askonce`."""

from askonce.cli.main import main

if __name__ == "__main__":
    main()
