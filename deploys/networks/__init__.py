"""Isolation of containers on the engines' own bridges, and what they reach of the host."""
