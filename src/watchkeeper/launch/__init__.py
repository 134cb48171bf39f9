"""A program that knows nothing of the SDK, instrumented from outside: `watchkeeper run -- <command>`.

`start` configures the SDK at the start of each process of the program; `frameworks` instruments applications as they
are made, or as a server loads them. The command itself is `watchkeeper_command`.
"""
