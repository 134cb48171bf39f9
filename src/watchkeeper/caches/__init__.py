"""Caches: what Redis is asked, whether it had it, and how it is."""
