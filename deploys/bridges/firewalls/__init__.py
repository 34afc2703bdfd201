"""Firewalls that stand beside ours, each told what is declared."""
