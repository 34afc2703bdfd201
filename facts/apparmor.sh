# shellcheck shell=sh
# The section apparmor of the survey. Given: ENABLED, LOADED and POLICY, the kernel's files; FOLDER and CACHE, where the
# profiles are, and what the parser made of them; UNIT_DROP_IN, our file for Docker's service; OURS, "NAME=FILE" of each
# of our profiles.
show "$ENABLED" /proc/cmdline "$LOADED"
run parser command -v apparmor_parser
if have dpkg-query; then run package dpkg-query -W -f '${db:Status-Status} ${Version}\n' apparmor
elif have rpm; then run package rpm -q --qf 'installed %{VERSION}-%{RELEASE}\n' apparmor-parser; fi
[ -d /run/systemd/system ] && run service systemctl is-enabled apparmor.service
have aa-status && run status aa-status --json
for d in disable force-complain; do [ -d "$FOLDER/$d" ] && run $d ls "$FOLDER/$d"; done
for d in "$POLICY"/docker-default.[0-9]*; do [ -e "$d" ] && run replaced stat -c %Y "$d"; done
run allowed allowed docker-default
[ -d "$FOLDER" ] || exit 0
run declared grep -sHE -d skip '^[[:space:]]*(profile[[:space:]]|["/@].*[[:space:]][{][[:space:]]*$)' "$FOLDER"/*
files=$(grep -slE -d skip 'flags=\([^)]*complain' "$FOLDER"/*)
# shellcheck disable=SC2086 # one argument per file
[ -n "$files" ] && run complain grep -sH '' $files
for f in "$FOLDER"/*hullproof* "$UNIT_DROP_IN"; do [ -f "$f" ] && show "$f"; done
digests() { # NAME FILE: the digest of what the kernel has, then those of what the parser compiled the file to
  for d in sha1 sha256; do
    for f in "$POLICY/$1".[0-9]*/raw_$d; do [ -e "$f" ] && cat "$f" && ${d}sum "$CACHE"/*/"${2##*/}"; done
  done; :; }
for our in $OURS; do [ -e "${our#*=}" ] && run "digests ${our%%=*}" digests "${our%%=*}" "${our#*=}"; done
:
