"""Where targets come from: a way of discovery per module, each with its own part of the configuration file."""
