# shellcheck shell=sh disable=SC2034
# How root's Podman is told what the scenario needs.
default=podman
all_paths='unmask=ALL'
client() { timeout -k 5 120 podman "$@"; }
