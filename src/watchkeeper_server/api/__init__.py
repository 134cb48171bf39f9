"""The JSON API over HTTP: a thin surface of `query`."""
