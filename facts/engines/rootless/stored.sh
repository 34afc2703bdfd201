# shellcheck shell=sh
# What a user's containers have stored with the user's subordinate ids. Asked only where another owner has some of these.
# Arguments: the user's id, the rows (KIND:START:COUNT,…), the home, how many files are looked at, the name.
uid=$1 rows=$2 home=$3 most=$4 name=$5
conf() { # FILE KEY, as sed(1) finds it; nothing else of the file is read, and no pipe is waited for
  [ ! -f "$1" ] || timeout 2 head -c 65536 -- "$1" |
    sed -n "s|^$2[[:space:]]*[=:][[:space:]]*[\"']\([^\"']*\)[\"'].*|\1|p" | head -n 1
}
toml() { conf "$1" "[[:space:]]*$2"; }
places() {
  printf '%s\n' "$home/.local/share/containers" "$home/.local/share/docker"
  toml /etc/containers/storage.conf rootless_storage_path
}
own_places() {
  toml "$home/.config/containers/storage.conf" graphroot
  toml "$home/.config/containers/storage.conf" rootless_storage_path
  conf "$home/.config/docker/daemon.json" '.*"data-root"'
}
known() { sed "s|\\\$HOME|$home|g; s|\\\$UID|$uid|g; s|\\\$USER|$name|g"; }
found=$(places | known)
# Elsewhere files of others may lie, which the user has only named.
own=$(own_places | known | while IFS= read -r at; do
  case $at in */../*|*/..|[!/]*) ;; "$home"/*) echo "$at"; continue ;; esac
  [ ! -d "$at/" ] || echo "elsewhere $at"
done)
for at in "$home/.local/share/lxc" "$home/.config/lxc/default.conf"; do [ ! -e "$at" ] || echo "lxc $at"; done
printf '%s\n' "$own" | grep '^elsewhere '
found=$(printf '%s\n' "$found" "$own" | grep -v '^elsewhere ' | sort -u | while IFS= read -r at; do
  case $at in "${last:-//}"/*) continue ;; esac # it lies within the one before
  if [ -n "$at" ] && [ -d "$at/" ]; then echo "$at"; last=$at; fi
done)
[ -z "$found" ] || printf '%s\n' "$found" | sed 's/^/folder /'
ids='BEGIN { many = split(rows, row, ","); for (i = 1; i <= many; i++) { split(row[i], p, ":"); kind[i] = p[1]; first[i] = p[2]; end[i] = p[2] + p[3] } }
  function ours(of, id,  i) { for (i = 1; i <= many; i++) if (kind[i] == of && id >= first[i] && id < end[i]) return 1; return 0 }'
printf '%s\n' "$found" | while IFS= read -r at; do
  [ -z "$at" ] || find "$at/" -xdev -mindepth 1 -printf '%U %G %s\n' 2>/dev/null
done | head -n "$most" | awk -v rows="$rows" -v most="$most" "$ids"'
  ours("u", $1) || ours("g", $2) { files++; bytes += $3 }
  END { printf "files %d %.0f\n", files, bytes; if (NR >= most) print "more" }'
cat /proc/[0-9]*/status 2>/dev/null | awk -v rows="$rows" -v uid="$uid" "$ids"'
  $1 == "Uid:" { hit = ($2 == uid || $3 == uid || ours("u", $2) || ours("u", $3)) }
  $1 == "Gid:" { n += hit || ours("g", $2) || ours("g", $3) }
  END { printf "processes %d\n", n }'
if command -v getfattr >/dev/null && command -v setfattr >/dev/null; then echo tools; fi
