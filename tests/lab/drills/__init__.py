"""What takes many reboots or long waits: `make drills`."""
