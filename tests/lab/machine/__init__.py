"""What makes a host: its emulator, its disk, its variants, and the runs that are made on it."""
