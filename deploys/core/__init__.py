"""What subjects are written in: controls, policies, changes, templates, text. Imports facts alone."""
