# What an ordinary user of the host tries. Given: the agent (agent, option, source), as_nobody, and the agenda, in which
# i:PID stands for another process of the same user, neither parent nor child.
# shellcheck disable=SC2154 # given: see above
# shellcheck disable=SC2086
$as_nobody sleep 60 &
pid=$!
trap 'kill "$pid" 2> /dev/null' EXIT
trap 'exit 143' HUP INT TERM
for _ in 1 2 3 4 5 6 7 8 9 10; do
    read -r name < "/proc/$pid/comm" && [ "$name" = sleep ] && break
    sleep 0.2
done
# shellcheck disable=SC2086
$as_nobody "$agent" "$option" "$source" "$(printf '%s' "$agenda" | sed "s/i:PID/i:$pid/")"
