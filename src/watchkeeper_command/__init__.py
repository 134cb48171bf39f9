"""The command `watchkeeper`, which the SDK and the server share, and all of what `watchkeeper run` does before the SDK.

Importing it imports neither: `watchkeeper run` is gone a few milliseconds after its start.
"""
