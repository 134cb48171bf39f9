"""Errors: caught wherever they surface, told apart, counted, and sent once."""
