# shellcheck shell=sh disable=SC2034
# How Docker is told what the scenario needs.
default=bridge                         # the network that a container gets without a word
all_paths='systempaths=unconfined'     # the security option that leaves all of /proc in sight
client() { timeout -k 5 120 docker "$@"; }
