"""Launchers: run an owner's programs, each in its turn (launcher.py)."""
