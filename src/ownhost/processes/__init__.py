"""Supervisor, forkserver, gate, worker and logger, and the messages in which they meet."""
