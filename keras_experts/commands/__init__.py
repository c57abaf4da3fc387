"""What each command does with its flags.

Heavy modules are imported by the command that needs them, so that `--help`
takes no time.
"""
