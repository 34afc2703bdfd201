"""DECIDE and ENFORCE: entry points, subjects, and the engine under them."""
