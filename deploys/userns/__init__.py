"""User namespaces and the ranges of ids that they take."""
