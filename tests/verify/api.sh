# An engine's API without root: nobody tries every socket on which it listens. `unix:PATH` and `tcp:ADDRESS:PORT` get an
# HTTP request, `tls:ADDRESS:PORT` an HTTPS one without a client certificate. Each name is
# printed as `asked:NAME` first.
# Given: the agent (agent, option, source), and as_nobody, the command that gives up root. Which sockets these are says
# api/NAME.sh, which stands before this.
# shellcheck disable=SC2154 # given: see above
reached() { # as ADDRESS:PORT to connect to
    sed -E 's/%[^]:]*//; s/^\[::ffff:([0-9.]+)\]/\1/; s/^(\*|0\.0\.0\.0):/127.0.0.1:/; s/^\[::\]:/[::1]:/'
}
# shellcheck disable=SC2016
tls='if command -v curl > /dev/null; then exec curl -iksS --max-time 4 "https://$0/_ping"; fi; '
# shellcheck disable=SC2016
tls=$tls'command -v openssl > /dev/null || exit 127; printf "GET /_ping HTTP/1.0\r\n\r\n" | '
# shellcheck disable=SC2016
tls=$tls'timeout 4 openssl s_client -quiet -connect "$0" 2>&1'
tab=$(printf '\t')
try() { # name, verb, arguments …: a line of the agenda
    (IFS=$tab && printf '%s\n' "$*")
}
agenda=$(
    try listing exec /bin/sh -c 'command -v ss'
    sockets | sed 's|^/var/run/|/run/|' | sort -u | while read -r path; do
        try "unix:$path" connect "$path" - 'GET /_ping HTTP/1.0'
    done
    listeners | reached | sort -u | while read -r place; do
        address=${place%:*}
        address=${address#[}
        try "tcp:$place" connect "${address%]}" "${place##*:}" 'GET /_ping HTTP/1.0'
        try "tls:$place" exec /bin/sh -c "$tls" "$place"
    done
)
printf '%s\n' "$agenda" | sed "s/$tab.*//; s/.*/asked:&${tab}0${tab}0$tab/"
# shellcheck disable=SC2086
$as_nobody "$agent" "$option" "$source" "$agenda"
