"""Incus and LXD: what their default profile gives instances, which instances differ, and who may speak to their API."""
