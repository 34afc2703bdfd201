"""Audit: what is watched, and that it is recorded."""
