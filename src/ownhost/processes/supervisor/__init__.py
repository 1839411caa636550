"""The supervisor: reads the configuration, opens listeners, logs and keys, decides what runs (supervisor.py)."""
