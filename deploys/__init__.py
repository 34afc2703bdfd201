"""DECIDE and ENFORCE: entry points, subjects, and what runs them."""
