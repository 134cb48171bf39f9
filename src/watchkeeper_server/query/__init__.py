"""The one read path: what is stored, as values that surfaces format."""
