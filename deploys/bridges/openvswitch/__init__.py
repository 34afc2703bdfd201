"""Declared networks on Open vSwitch."""
