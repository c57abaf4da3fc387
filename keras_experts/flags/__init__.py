"""The flags of the commands, by the users they are for."""
