# shellcheck shell=sh
# shellcheck disable=SC2015,SC2086 # a chain ends at what fails; conditions of find, numbers alone
# What a user's containers have stored gets other ids, or its old ones back. Given: USER_ID, ROWS (what each of the files
# says of that user), MAPS (KIND:OLD:COUNT:NEW, in the order of the old rows) and ENTRY, the folder of the journal.
#
#   $ENTRY/N/      one per folder
#     folder       its path
#     lock         the owner and mode that it had, and its inode: while it is here, root alone gets into the folder
#     ids          all that is changed, sealed before the first change: UID GID TYPE INODE PATH, each ended by NUL
#     modes        MODE PATH of the programs from which chown(2) takes setuid and setgid; it takes capabilities too
#     attributes   capabilities and ACLs of all files, as getfattr has them
#     shifted      all of it was changed
#     back, back.* the same, sealed before the first change is taken back
#
# The user owns the folder, so nothing is done in it by a path that the user could change meanwhile: it is entered once
# closed, known by its inode, and no process of the user's runs, nor one that has these ids. Old and new ids do not meet,
# and each file is changed only while it has those that the list says: whatever was cut off can be begun again.

part() { kind=${1%%:*} rest=${1#*:}; old=${rest%%:*} rest=${rest#*:}; count=${rest%%:*} new=${rest##*:}; } # MAP

reversed() { maps=; for map in $MAPS; do part "$map"; maps="$maps $kind:$new:$count:$old"; done; }

other() { # KIND ID MAPS: $id is what it becomes
  id=$2
  for map in $3; do
    part "$map"
    if [ "$kind" = "$1" ] && [ "$2" -ge "$old" ] && [ "$2" -lt $((old + count)) ]; then id=$((new + $2 - old)); return; fi
  done
}

among() { # MAPS: $ids is how find(1) knows their old ids
  ids=
  for map in $1; do
    part "$map"; ids="$ids -o -${kind}id +$((old - 1)) -${kind}id -$((old + count))"
  done
  ids=${ids# -o}
}

busy() { # names the processes of the user, and those that have old or new ids
  cat /proc/[0-9]*/status 2>/dev/null | awk -v user="$USER_ID" -v maps="$MAPS" '
    BEGIN { many = split(maps, row, " "); for (i = 1; i <= many; i++) { split(row[i], p, ":"); kind[i] = p[1]; old[i] = p[2]; count[i] = p[3]; fresh[i] = p[4] } }
    function ours(of, id,  i) {
      if (of == "u" && id == user) return 1
      for (i = 1; i <= many; i++)
        if (kind[i] == of && (id >= old[i] && id < old[i] + count[i] || id >= fresh[i] && id < fresh[i] + count[i])) return 1
      return 0
    }
    $1 == "Name:" { name = $2; hit = 0 }
    $1 == "Pid:" { pid = $2 }
    $1 == "Uid:" || $1 == "Gid:" || $1 == "Groups:" { for (f = 2; f <= NF; f++) if (ours($1 == "Uid:" ? "u" : "g", $f + 0)) hit = 1 }
    $1 == "Groups:" && hit && n++ < 5 { printf "%s%s (%s)", (n > 1 ? ", " : ""), name, pid }'
}

each() { # FUNCTION...: in each folder; $at has what is noted of it
  for at in "$ENTRY"/[0-9]*; do
    [ -e "$at/folder" ] || continue
    (cd -P -- "$(cat "$at/folder")" && "$@") || return
  done
}

shut() { # nobody but root gets in, whoever has begun that
  found=$(stat -c '%u %g %a %i' .) || return
  if [ ! -s "$at/lock" ]; then
    if [ "${found%% *}" != "$USER_ID" ]; then echo "$PWD does not belong to the user"; return 1; fi
    printf '%s\n' "$found" >"$at/lock.new" && sync "$at/lock.new" && mv "$at/lock.new" "$at/lock" && sync "$at" || return
  fi
  read -r _ _ _ inode <"$at/lock"
  if [ "${found##* }" != "$inode" ]; then echo "$PWD is no longer the folder that was closed"; return 1; fi
  chown 0:0 . && chmod 0700 .
}

within() { # FUNCTION...: in the folder that was closed, and in no other one that has its name
  read -r _ _ _ inode <"$at/lock" && [ "$(stat -c '%u %i' .)" = "0 $inode" ] || { echo "$PWD is no longer closed"; return 1; }
  "$@"
}

open() { # half of it has no use for anybody
  if [ ! -s "$at/lock" ] || { [ -e "$at/ids" ] && [ ! -e "$at/shifted" ]; } || [ -e "$at/back" ]; then return 0; fi
  read -r uid gid mode _ <"$at/lock" && chown "+$uid:+$gid" . && chmod "$mode" . && rm -f "$at/lock"
}

listing() { find . -xdev -mindepth 1 '(' $ids ')' -printf '%U %G %y %i %p\0'; }
modes() { find . -xdev -mindepth 1 -type f -perm /6000 '(' $ids ')' -printf '%m %p\0'; }
attributes() {
  find . -xdev -mindepth 1 '(' -type f -o -type d ')' -print0 |
    xargs -0 -r getfattr -h -d -e hex -m '^(security\.capability|system\.posix_acl_(access|default))$' --
}

whole() { # what can be shifted as a whole, and is not another's too
  if [ -e "$at/ids" ]; then return 0; fi
  if [ "$(find . -xdev -type d -printf '%D\n' | sort -u | wc -l)" != 1 ]; then
    echo "there are other file systems or subvolumes in $PWD"; return 1
  fi
  among "$MAPS"
  linked=$(find . -xdev -mindepth 1 ! -type d -links +1 '(' $ids ')' -printf '%i %n\n' | sort | uniq -c | awk '$1 != $3 { print $2; exit }')
  if [ -n "$linked" ]; then
    echo "a file in $PWD has a name outside of it too, where it may be another owner's (find $PWD -inum $linked)"; return 1
  fi
}

seal() { # LISTS...: durable, the last one at the end
  (cd "$at" && for list; do sync "$list.new" && mv "$list.new" "$list" || exit; done; sync .)
}

noted() {
  if [ -e "$at/ids" ]; then return 0; fi
  among "$MAPS"
  listing >"$at/ids.new" && modes >"$at/modes.new" && attributes >"$at/attributes.new" && seal modes attributes ids
}

mapped() { # MAPS [LIST] <attributes: with the other ids, of files in LIST alone, and only what is another then or was lost
  awk -v maps="$1" -v list="${2-}" '
    BEGIN {
      many = split(maps, row, " "); for (i = 1; i <= many; i++) { split(row[i], p, ":"); kind[i] = p[1]; old[i] = p[2]; count[i] = p[3]; fresh[i] = p[4] }
      if (list != "") while ((getline line <list) > 0) if (line ~ /^# file: /) known[line] = 1
    }
    function byte(hex) { return 16 * (index("0123456789abcdef", substr(hex, 1, 1)) - 1) + index("0123456789abcdef", substr(hex, 2, 1)) - 1 }
    function other(of, hex,  i, id) { # little-endian, as the kernel keeps it
      id = byte(hex) + 256 * (byte(substr(hex, 3)) + 256 * (byte(substr(hex, 5)) + 256 * byte(substr(hex, 7))))
      for (i = 1; i <= many; i++) if (kind[i] == of && id >= old[i] && id < old[i] + count[i]) {
        id = fresh[i] + id - old[i]
        return sprintf("%02x%02x%02x%02x", id % 256, int(id / 256) % 256, int(id / 65536) % 256, int(id / 16777216))
      }
      return hex
    }
    function acl(value,  at, to, tag, id) { # a header of 4 bytes, then tag, permissions, id (linux/posix_acl_xattr.h)
      to = substr(value, 1, 10)
      for (at = 11; at < length(value); at += 16) {
        tag = substr(value, at, 4); id = substr(value, at + 8, 8)
        if (tag == "0200") id = other("u", id)
        if (tag == "0800") id = other("g", id)
        to = to substr(value, at, 8) id
      }
      return to
    }
    /^# file: / { file = $0; ours = list == "" || (file in known); said = 0; next }
    {
      cut = index($0, "="); if (!cut) next
      name = substr($0, 1, cut - 1); value = substr($0, cut + 1); to = value
      if (ours && name ~ /^system/) to = acl(value)
      # Version 3 ends in the root of the user namespace that it counts in (linux/capability.h, vfs_ns_cap_data).
      if (ours && name ~ /^security/ && length(value) == 50) to = substr(value, 1, 42) other("u", substr(value, 43))
      if (to == value && name ~ /^system/) next
      if (!said++) print (shown++ ? "\n" : "") file
      print name "=" to
    }'
}

moved() { # LISTS MAPS: LISTS, LISTS.modes …; attributes are as they are to be
  tr '\n\0' ' \n' <"$1" | cut -d' ' -f1,2 | sort -u | while read -r u g; do
    other u "$u" "$2"; to=+$id; other g "$g" "$2"; to=$to:+$id
    sed -zn "s/^$u $g . [0-9]* //p" "$1" | xargs -0 -r chown -h --from="+$u:+$g" "$to" -- || exit
  done && setfattr -h --restore=- <"$3" && tr '\n\0' ' \n' <"$4" | cut -d' ' -f1 | sort -u | while read -r mode; do
    sed -zn "s/^$mode //p" "$4" | xargs -0 -r chmod "$mode" -- || exit
  done
}

there() {
  if [ -e "$at/shifted" ]; then return 0; fi
  mapped "$MAPS" <"$at/attributes" >"$at/to.attributes" && moved "$at/ids" "$MAPS" "$at/to.attributes" "$at/modes" &&
    sync -f . && : >"$at/shifted" && sync "$at"
}

still() { # what still has our ids, and how much is left because it has not
  if [ -e "$at/back" ]; then return 0; fi
  reversed; among "$maps"
  tr '\n\0' ' \n' <"$at/ids" | cut -d' ' -f1,2 | sort -u | while read -r u g; do
    other u "$u" "$MAPS"; to=$id; other g "$g" "$MAPS"; printf 's/^%s %s /%s %s /\nt\n' "$u" "$g" "$to" "$id"
  done >"$at/map.sed"
  sed -z -f "$at/map.sed" "$at/ids" | sort -z >"$at/wanted" && listing | sort -z >"$at/now" &&
    comm -z -12 "$at/wanted" "$at/now" >"$at/back.new" || return
  if [ -e "$at/shifted" ]; then
    modes >"$at/back.modes.new" && attributes | mapped "$maps" "$at/attributes" >"$at/back.attributes.new" || return
    gone=$(comm -z -23 "$at/wanted" "$at/now" | tr -cd '\0' | wc -c)
    [ "$gone" = 0 ] || echo "$gone files in $PWD were changed or removed since: they stay as they are" >>"$NOTE"
    since=$(comm -z -13 "$at/wanted" "$at/now" | tr -cd '\0' | wc -c)
    [ "$since" = 0 ] || echo "$since files in $PWD were made since, and keep the newer ids" >>"$NOTE"
  else
    cp "$at/modes" "$at/back.modes.new" && cp "$at/attributes" "$at/back.attributes.new" || return
  fi
  seal back.modes back.attributes back
}

here() {
  reversed
  moved "$at/back" "$maps" "$at/back.attributes" "$at/back.modes" && sync -f . || return
  rm -f "$at/ids" "$at/back" && open && rm -rf "$at"
}

idle() {
  found=$(busy)
  [ -z "$found" ] || { echo "these processes run as the user or with these ids: $found"; return 1; }
}

shifted() { # FOLDER...: status 3 where nothing was changed
  number=0
  for folder; do
    number=$((number + 1)); at=$ENTRY/$number
    if [ -e "$at/folder" ]; then continue; fi
    if [ ! -d "$folder/" ]; then echo "$folder is not there"; exit 3; fi
    mkdir -p "$at" && printf '%s\n' "$folder" >"$at/folder.new" && mv "$at/folder.new" "$at/folder" || exit 3
  done
  for at in "$ENTRY"/[0-9]*/back; do # what was going back no longer is
    [ ! -e "$at" ] || rm -f "${at%back}shifted" "$at"
  done
  each shut && idle && each within whole && each within noted || { each open; exit 3; }
  each within there && each within open
}

taken_back() {
  for at in "$ENTRY"/[0-9]*; do
    [ -e "$at/folder" ] || continue
    if [ -e "$at/lock" ]; then continue; fi # it is there, under whichever name
    if [ ! -e "$at/ids" ]; then rm -rf "$at" # nothing was changed there
    elif [ ! -d "$(cat "$at/folder")/" ]; then echo "$(cat "$at/folder") is gone" >>"$NOTE"; rm -rf "$at"; fi
  done
  each shut && idle || { each open; return 1; }
  each within back_to
}

back_to() { # what was only closed is opened
  if [ ! -e "$at/ids" ] && [ ! -e "$at/back" ]; then open && rm -rf "$at"; return; fi
  still && here
}

settled() { # FOLDER...: the files have the ids that the rows give, whichever these are now
  given=0
  for row in $ROWS; do if grep -qx -- "${row#*=}" "${row%%=*}"; then given=$((given + 1)); fi; done
  if [ $given != 2 ]; then taken_back; return; fi
  half=; for at in "$ENTRY"/[0-9]*/lock; do [ ! -e "$at" ] || half=1; done
  if [ -e "$ENTRY/done" ] && [ -z "$half" ]; then return 0; fi
  shifted "$@"
}
