"""An inventory to copy: who there is, in groups. How to reach them and what they must hold is in group_data/.

    hullproof drift inventories/example.py                        all of them, reading only
    hullproof harden inventories/example.py --limit canary         first the one that may break
    hullproof harden inventories/example.py --limit docker_hosts   then the others

A host is a name, or a name with data of its own. Data for a whole group stands in group_data/GROUP.py, for every host
in group_data/all.py. The host's own data comes before the group's, and `--data` before both.
"""

# Changes go here first. If this one breaks, nobody is called at night.
canary = [
    ("canary.example.net", {"policy": "strict"}),
]

# What runs containers for others, the canary too.
docker_hosts = (
    [
        "canary.example.net",
        "docker1.example.net",
        "docker2.example.net",
        # Behind a jump host that ~/.ssh/config names, with a user who may use sudo without a password. One whose sudo
        # asks for it takes `_sudo=True` and `_sudo_password` here, or --sudo --use-sudo-password on the command line.
        ("docker3.example.net", {"ssh_user": "ops", "ssh_config_file": "~/.ssh/config"}),
    ],
    # Only hosts whose keys are in known_hosts: pyinfra alone would accept an unknown key without a word.
    {"ssh_strict_host_key_checking": "yes"},
)
