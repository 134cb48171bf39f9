"""`python -m watchkeeper_command`, as the command does it."""

from watchkeeper_command.main import main

if __name__ == "__main__":
    main()
