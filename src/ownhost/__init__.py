"""Ownhost: a web server that reads Apache's configuration and serves every virtual host as its owner."""

__version__ = "0.1.0"
