"""Container engines, one folder each, and what all of them answer."""
