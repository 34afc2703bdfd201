"""An inventory to copy: who there is, in groups. How to reach them and what they must hold is in group_data/.

    pyinfra inventories/example.py deploys/drift.py -y                      all of them, reading only
    pyinfra inventories/example.py deploys/harden.py --limit canary         first the one that may break
    pyinfra inventories/example.py deploys/harden.py --limit docker_hosts   then the others

A host is a name, or a name with data of its own. Data for a whole group stands in group_data/GROUP.py, for every host
in group_data/all.py. The host's own data comes before the group's, and `--data` before both.
"""

# Changes go here first. If this one breaks, nobody is called at night.
canary = [
    ("canary.example.net", {"policy": "strict"}),
]

# What runs containers for others, the canary too.
docker_hosts = [
    "canary.example.net",
    "docker1.example.net",
    "docker2.example.net",
    # Behind a jump host that ~/.ssh/config names, with a user who may use sudo without a password.
    ("docker3.example.net", {"ssh_user": "ops", "ssh_config_file": "~/.ssh/config"}),
]
