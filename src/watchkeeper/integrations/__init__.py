"""One file per library, each with `install()` and `uninstall()`."""
