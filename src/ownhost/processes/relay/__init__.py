"""Requests that one process passes on to another, over a stream of records."""
