"""The engine: control, policy, change, journal, report, transport. It knows no subject."""
