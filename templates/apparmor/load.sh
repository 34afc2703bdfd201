# shellcheck shell=sh
# Loads or replaces hullproof-container. After an undo that removed its file it is unloaded, but not while it confines a
# process, which would go on unconfined. Given: NAME and FILE, the profile's; LOADED, the kernel's list of profiles.
if [ -e "$FILE" ]; then apparmor_parser -r -T -W "$FILE"
elif grep -q "^$NAME " "$LOADED"; then
  if grep -ls "^$NAME " /proc/[0-9]*/attr/current >/dev/null; then
    echo "$NAME stays loaded, since it confines running processes, which would be unconfined: end them and undo again"
    exit 1
  fi
  echo "profile $NAME {}" | apparmor_parser -K -R
fi
