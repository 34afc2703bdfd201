"""Control groups: what all containers of a host together may take of it."""
