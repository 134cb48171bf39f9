"""A small web shop, watched by Watchkeeper: read `app.py` first, README.md says what is where."""
