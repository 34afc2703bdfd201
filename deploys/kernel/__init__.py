"""The kernel: sysctls, boot parameters, updates."""
