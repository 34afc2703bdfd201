"""What a run says at its end: the report, its other forms, the terminal. Knows no subject."""
