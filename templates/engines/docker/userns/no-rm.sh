# shellcheck shell=sh
# Succeeds only if no running container was started with --rm: stopping it would delete it, and no undo brings it back.
# shellcheck disable=SC2046 # one argument per id
set -- $(docker ps -q 2>/dev/null)
[ $# -gt 0 ] || exit 0
gone=$(docker inspect -f '{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}' "$@" | grep . | tr '\n' ' ')
[ -z "$gone" ] || { echo "these containers were started with --rm and are deleted when they stop; stop them yourself first: $gone"; exit 1; }
