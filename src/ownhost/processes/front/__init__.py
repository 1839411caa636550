"""The front: keeps the connections of proxies that the administrator lists, and relays each request (front.py)."""
