"""SELinux, from nothing to enforcing."""
