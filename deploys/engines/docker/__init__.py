"""Docker: its daemon's settings, who can reach it, what its containers may."""
