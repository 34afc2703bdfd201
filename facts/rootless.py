"""Users without root that use user namespaces: for rootless engines, browsers' sandboxes, bubblewrap."""

from __future__ import annotations

from collections.abc import Mapping

from facts.core.reading import Section, Unknown

PEOPLE = range(1000, 60000)  # login.defs(5), UID_MIN to UID_MAX; the ids that containers are mapped to lie above
ENGINES = ("rootlesskit", "podman", "conmon", "catatonit", "slirp4netns", "pasta", "buildah", "lxc-start", "bwrap")

# One process of each namespace: its owner, its name, and its parent's owner, who started a container that runs under
# subordinate ids only. The shell reads this itself, without a process for each.
SCRIPT = r"""
uid_of() {
  id= up=
  while read -r key value rest; do
    case $key in PPid:) up=$value ;; Uid:) id=$value; break ;; esac
  done <"/proc/$1/status"
}
rootless() {
  init=$(readlink /proc/1/ns/user) || return
  seen=
  find /proc/[0-9]*/ns/user -maxdepth 0 ! -uid 0 ! -lname "$init" -printf '%l %U %h %u\n' 2>/dev/null |
    while read -r ns uid at user; do
      case $seen in *" $ns/$uid "*) continue ;; esac
      seen="$seen $ns/$uid " at=${at%/ns}
      read -r name <"$at/comm" && uid_of "${at#/proc/}" || continue
      [ "$up" = 0 ] || uid_of "$up"
      echo "process $uid ${id:-0} $user $name"
    done 2>/dev/null
  for lingers in /var/lib/systemd/linger/*; do
    [ -e "$lingers" ] || return 0
    find /run/user/*/podman/podman.sock /run/user/*/docker.sock -maxdepth 0 -user "${lingers##*/}" \
      -printf 'socket %U 0 %u %p\n' 2>/dev/null
  done
  :
}
run rootless rootless
"""


def parse(section: Section) -> Mapping[str, tuple[str, ...]] | Unknown:
    """By user, the programs that run in user namespaces; users without a name by their id."""
    text = section.text("rootless")
    if isinstance(text, Unknown):
        return Unknown(f"it is not known which users run programs in user namespaces: {text.unknown}")
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and words[1].isdigit() and words[2].isdigit():
            kind, uid, parent, user, what = words[0], int(words[1]), int(words[2]), words[3], words[4]
            if kind == "socket" or uid in PEOPLE or (0 < uid < PEOPLE.start and what.startswith(ENGINES)):
                found.setdefault(user, set()).add(what)
            elif parent in PEOPLE:
                found.setdefault(f"uid {parent}", set()).add(what)
    return {user: tuple(sorted(names)) for user, names in sorted(found.items())}
