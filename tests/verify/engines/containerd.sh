# shellcheck shell=sh disable=SC2154
# How containerd is asked for a container by its own client, which has no settings: in a namespace of its own.
client() { timeout -k 5 120 ctr -n "$probe" "$@"; }
alone() {
    client run --rm --rootfs --mount "type=bind,src=$kept,dst=/kept,options=rbind:ro" \
        --mount type=tmpfs,dst=/scratch,options=size=4m "$tree" "$probe" "$agent" "$option" "$source" "$attempts"
}
leave() {
    client task kill -s KILL "$probe" > /dev/null 2>&1
    client task rm -f "$probe" > /dev/null 2>&1
    client container rm "$probe" > /dev/null 2>&1
    ctr namespace rm "$probe" > /dev/null 2>&1
    rmdir "/sys/fs/cgroup/$probe" "/run/containerd/runc/$probe" /run/containerd/io.containerd.runtime.v?.task/"$probe" \
        /var/lib/containerd/io.containerd.runtime.v?.task/"$probe" 2> /dev/null
}
