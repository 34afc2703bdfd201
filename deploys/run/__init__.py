"""One run over hosts: survey, plan, execute, confirm, undo. Knows no subject."""
