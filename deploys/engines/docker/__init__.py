"""Docker: the daemon's settings, access to its API, and the privileges of its containers."""
