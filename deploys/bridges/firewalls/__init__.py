"""Other firewalls on the host, and what each of them needs to accept the allowed flows."""
