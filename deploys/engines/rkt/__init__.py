"""rkt (Rocket), which has ended."""
