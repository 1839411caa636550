"""What an administrator sees: command line, listings, logs."""
