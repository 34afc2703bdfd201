"""AppArmor, and a profile of our own."""
