"""Data of every host. A group's own file beside this one (GROUP.py), and a host's own data, come before it."""

from pathlib import Path

policy = str(Path(__file__).resolve().parents[1] / "policy.yml")

# A host that ~/.ssh/known_hosts does not have is refused: connect to it once with ssh(1), and compare its key.
ssh_strict_host_key_checking = "yes"
