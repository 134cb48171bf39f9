"""Values that every part of the server speaks in."""
