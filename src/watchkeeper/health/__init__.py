"""Health: checks of what the service needs, run in the background, and the endpoints that tell of them."""
