# Raw frames from one container to another on each of "$bridges", and on a bridge of our own where nothing forbids them.
# Containers are namespaces here: no engine, no image. Given: bridges, each with the addresses that frames of IP are
# sent from as well (br0,10.80.0.254,fd00:80::fffe), and "$frames", the source of frames.pl.
# shellcheck disable=SC2154 # given: frames, bridges
cleanup() {
    for end in a b; do leave $end; done
    ip link del hp-probe 2> /dev/null
}
trap cleanup EXIT
trap 'exit 143' HUP INT TERM
switch() { command -v ovs-vsctl > /dev/null && ovs-vsctl --timeout=9 "$@" 2> /dev/null; }
join() { # END BRIDGE
    if [ -e "/sys/class/net/$2/bridge" ]; then ip link set "hp-$1" master "$2"; else switch add-port "$2" "hp-$1"; fi &&
        ip link set "hp-$1" up
}
leave() { # END
    switch --if-exists del-port "hp-$1"
    ip netns del "hp-probe-$1" 2> /dev/null; ip link del "hp-$1" 2> /dev/null
}
say() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4"; }

reach() { # BRIDGE [ADDRESS…]
    bridge=$1; shift
    for end in a b; do
        ip netns add "hp-probe-$end" && ip link add "hp-$end" type veth peer name eth0 netns "hp-probe-$end" &&
            join $end "$bridge" && ip -n "hp-probe-$end" link set eth0 up || exit 1
    done
    # /sys of the namespace, not of the host
    ip netns exec hp-probe-b perl -e "$frames" receive eth0 "hp $bridge $$" &
    receiver=$!
    sleep 0.5
    ip netns exec hp-probe-a perl -e "$frames" send eth0 "hp $bridge $$" "$@"
    wait $receiver
    seen=$?
    for end in a b; do leave $end; done
    return $seen
}

cleanup
ip link add hp-probe type bridge && ip link set hp-probe up || exit 1
for row in hp-probe $bridges; do
    IFS=,; set -- $row; unset IFS
    if [ ! -e "/sys/class/net/$1" ]; then say "$1" -1 2 "there is no bridge $1"
    elif reach "$@"; then say "$1" 0 0 "the frames came"
    else say "$1" -1 1 "none of the frames came"; fi
done
