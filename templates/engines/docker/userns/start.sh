# shellcheck shell=sh
# Starts the containers again that were stopped for the switch. One that was removed since, or that does not start, is
# named in $NOTE, and does not keep the rest from being undone. Given: IDS, the containers', the oldest first.
up=
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do docker version >/dev/null 2>&1 && up=1 && break; sleep 5; done
[ -n "$up" ] || { echo "Docker does not answer"; exit 1; }
for id in $IDS; do why=$(docker start "$id" 2>&1 >/dev/null) || echo "not started again: $id: $why" >>"$NOTE"; done
