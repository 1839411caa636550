"""Workers: serve one identity's requests (worker.py), from a connection to the access log's line."""
