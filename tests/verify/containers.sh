# What is tried in containers on networks. Given, besides what stage.sh needs: the ports port and service, and the agendas
# plain, loose and ear.
#
# The image is empty: what runs in it is the host's own /usr, bound read-only. Where SELinux runs, Debian's policy lets
# the daemon mount nothing but files that are labelled for containers, so there the image holds copies of the few programs.
#
# `plain` is a container as the engine makes it, with no option that weakens it; when its attempts are made it listens.
# `loose` has CAP_SYS_ADMIN and all of /proc in sight, so that only an LSM or a user namespace is left in the way; it also
# tries to reach `plain`, on the default bridge (where there is one) and on a network made just now with default options,
# and to be taken for it by the host.
# The host's own attempts show that `plain` listens. What it serves itself is tried at the same addresses, and where a
# datagram from a forged address goes is seen on a device of ours, behind which nobody is.
# Files that anybody may read: in /own, which is labelled as that of `plain` where SELinux runs, and in /host.
# The stage (stage.sh) and the engine's launcher, engines/NAME.sh, stand before this.
# shellcheck disable=SC2154 # given: see above
heard=''
leave() {
    ip link del hp-nobody 2> /dev/null
    remove "$probe:empty" "$probe" "$probe-plain" "$probe-loose"
}

copies=''
[ ! -e /sys/fs/selinux/enforce ] || copies=$(programs)
# shellcheck disable=SC2086
tar -chP --files-from /dev/null $copies | image "$probe:empty" || exit 1
networks=$(networks)
network "$probe" && networks="$networks $probe"
binds=
for path in /usr /bin /lib /lib64; do
    [ -z "$copies" ] && [ -e "$path" ] && binds="$binds --volume $path:$path:ro"
done

container() { # name, agenda, options …: a container on all of the networks, not yet started
    name=$probe-$1 agenda=$2 first=
    shift 2
    for each in $networks; do
        if [ -z "$first" ]; then
            first=$each
            # shellcheck disable=SC2086
            create "$name" "$each" $binds "$@" "$probe:empty" "$agent" "$option" "$source" "$agenda" || return
        else
            join "$each" "$name" || return
        fi
    done
}

reach() { # prefix: an agenda to reach `plain` on each network, and what the host serves there
    printf '%s\n' "$addresses" | while read -r on address gateway; do
        [ "$on" = "$default" ] && to=default || to=own
        [ -z "$address" ] || printf '%s:%s\tconnect\t%s\t%s\n' "$1" "$to" "$address" "$port"
        [ -z "$gateway" ] || printf '%s-service:%s\tconnect\t%s\t%s\n' "$1" "$to" "$gateway" "$service"
    done
}

serve() { # on the host's own address of each network, and nowhere else
    for gateway in $(printf '%s\n' "$addresses" | cut -d' ' -f3); do
        timeout 300 "$agent" "$option" "$source" "serving	listen	$service	$gateway" &
        servers="$servers $!"
    done
}

nobody() { # a way out at the end of which is nobody, and an ear on it
    ip link del hp-nobody 2> /dev/null
    ip link add hp-nobody type dummy && ip addr add 203.0.113.1/30 dev hp-nobody && ip link set hp-nobody up &&
        ip neigh replace 203.0.113.2 lladdr 02:00:00:00:00:02 dev hp-nobody || {
        printf 'ear\t-1\t19\tno device could be made\n'
        return
    }
    "$agent" "$option" "$source" "$ear" &
    heard=$!
}

for folder in own host; do
    mkdir -m 755 "$dir/$folder" && echo "read" > "$dir/$folder/file" && chmod 644 "$dir/$folder/file" || exit 1
done
# where there are such labels; the host's own file keeps the one that it has
chcon -t container_file_t "$dir/host" "$dir/own" "$dir/own/file" 2> /dev/null

container plain "$(for_host "$plain")" --tmpfs /scratch:exec,suid,size=4m --volume "$kept:/kept:ro" \
    --volume "$dir/own:/own:ro,Z" && start "$probe-plain" || exit 1
addresses=$(addresses "$probe-plain")
serve
nobody
last=$(($(date +%s) + 30))
while :; do
    seen=$("$agent" "$option" "$source" "$(reach host)")
    case $seen in
        *-1*) [ "$(date +%s)" -lt "$last" ] || break ;;
        *) break ;;
    esac
    sleep 1
done
printf '%s\n' "$seen"

as_plain() { # an agenda: to the host, by ARP, as `plain` on the first network
    printf '%s\n' "$addresses" | while read -r on address gateway; do
        [ "$on" != "$default" ] || printf 'masquerade\tmasquerade\teth0\t%s\t%s\n' "$address" "$gateway"
    done
}

neighbour() { # where the host has had `plain` there meanwhile, and where it is
    address=$(printf '%s\n' "$addresses" | sed -n "s/^$default \\([^ ]*\\) .*/\\1/p")
    entry=$({ cat "$dir/neighbours"; ip neigh show "$address"; } 2> /dev/null |
        sed -n "s/^$address .* lladdr \([^ ]*\).*/\1/p" | sort -u | tr '\n' ' ')
    own=$(own_mac "$probe-plain")
    printf 'neighbour\t0\t0\t%s%s\n' "$entry" "$own"
}

ip monitor neigh > "$dir/neighbours" 2> /dev/null &
servers="$servers $!"
container loose "$loose
$(reach sibling)
$(as_plain)" --cap-add SYS_ADMIN --cap-add NET_RAW --security-opt "$all_paths" --tmpfs /probe \
    --volume "$dir/own:/siblings:ro" --volume "$dir/host:/host:ro" &&
    attached "$probe-loose"
neighbour
[ -z "$heard" ] || wait "$heard"
said "$probe-plain"
