"""Declared networks: bridges, VLANs, and who may talk to whom."""
