# shellcheck shell=sh disable=SC2154
# A launcher: what a scenario asks of an engine. Docker and Podman speak alike, so far as it goes.
image() { client import - "$1" > /dev/null; }                                   # NAME, a tar archive on stdin
network() { client network create --label hullproof-probe "$1" > /dev/null; }   # NAME
networks() { client network ls --filter "name=^$default\$" --format '{{.Name}}'; } # those that are there by default
create() { # NAME NETWORK OPTION… IMAGE COMMAND…: a container that is not yet started
    made=$1 on=$2
    shift 2
    client create --name "$made" --label hullproof-probe --network "$on" --log-driver json-file "$@" > /dev/null
}
join() { client network connect "$1" "$2"; }                                    # NETWORK NAME
start() { client start "$1" > /dev/null; }                                      # NAME
attached() { client start -a "$1"; }                                            # NAME: until it ends, with what it says
addresses() { # NAME: a line `NETWORK ADDRESS GATEWAY` for each of its networks
    client inspect -f '{{range $name, $it := .NetworkSettings.Networks}}{{$name}} {{$it.IPAddress}} {{$it.Gateway}}{{println}}{{end}}' "$1"
}
own_mac() { client inspect -f "{{with index .NetworkSettings.Networks \"$default\"}}{{.MacAddress}}{{end}}" "$1" 2> /dev/null; } # NAME
said() { client logs "$1"; }                                                    # NAME
remove() { # IMAGE NETWORK NAME…
    gone_image=$1 gone_network=$2
    shift 2
    client rm -f "$@" > /dev/null 2>&1
    client network rm "$gone_network" > /dev/null 2>&1
    client image rm "$gone_image" > /dev/null 2>&1
}
