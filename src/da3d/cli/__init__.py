"""The command line: arguments, messages and exit codes, nothing else.

`main` puts the commands together; each has a file of its own. Nothing heavy is imported before a command
runs.
"""
