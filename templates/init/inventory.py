"""Who there is, in groups: a plain pyinfra inventory.

hullproof drift inventory.py                what does not hold; reads only
hullproof harden inventory.py --dry         what would be done about it
"""

# This machine, without SSH. For others put their names in its place: they are reached as ssh(1) reaches them.
hosts = ["@local"]

# Hosts of a group of this name get each change first, and the others only if these come back well.
# canary = ["canary.example.net"]

# A host may have data of its own.
# databases = [("db1.example.net", {"ssh_user": "ops", "policy": "strict"})]
