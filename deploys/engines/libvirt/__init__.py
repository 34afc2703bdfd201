"""libvirt: what it gives the containers and guests that it starts from now on, and who may speak to its API."""
