"""The command line: argv and signals in, options and an exit code out."""
