"""Watches: an inventory that systemd has looked at again and again, with reports kept and metrics written."""
