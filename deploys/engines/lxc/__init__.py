"""LXC: what it gives the containers that root makes from now on."""
