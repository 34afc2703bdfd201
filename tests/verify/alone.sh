# What is tried in a container that has no network, made as its engine makes one without a word. Given, besides what
# stage.sh needs: the agenda plain. The stage and the engine's launcher, engines/NAME.sh, stand before this.
#
# What runs in it are copies of the few programs, in a tree of their own: the engine may give the tree to other ids.
# A launcher has `alone`, which makes a container of "$tree", with kept in it as /kept, and prints what the attempts say;
# and `leave`, which removes whatever of it is there.
# shellcheck disable=SC2154 # given: see above
tree=$store/tree
quoted() { printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; } # TEXT: as a word of sh
first() { # FOLDER: where an engine starts a program without arguments. It leaves what the attempts say in /said.
    { echo '#!/bin/sh'; echo "export PATH=$PATH"; for word in "$agent" "$option" "$source" "$attempts"; do quoted "$word"; done
        printf '> /said 2>&1\n: > /done\n'; } > "$1/sbin/init" && chmod 755 "$1/sbin/init"
}
told() { # FOLDER: what it said, once it is done
    for _ in $(seq 600); do
        [ -e "$1/done" ] && cat "$1/said" && return
        sleep 0.2
    done
    return 1
}

mkdir -m 755 "$tree" && (cd "$tree" && mkdir -m 755 dev etc kept mnt probe proc run sbin sys tmp usr) || exit 1
mkdir -m 1777 "$tree/scratch" && echo ID=hullproof > "$tree/etc/os-release" || exit 1
programs > "$dir/programs"
tar -chP --files-from "$dir/programs" | tar -x -C "$tree" 2> "$dir/tar" || exit 1
attempts=$(for_host "$plain")
alone || exit 1
