"""Scraping as Prometheus 3 does it, told by its own configuration file."""
