"""Container engines, one folder each."""
