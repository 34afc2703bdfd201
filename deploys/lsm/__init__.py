"""Which Linux Security Module confines the host, and what it refused."""
