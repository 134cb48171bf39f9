"""The checks that come with the SDK, each a callable object that a user registers with one line."""
