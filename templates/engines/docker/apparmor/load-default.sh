# shellcheck shell=sh
# Loads or replaces docker-default. After an undo that removed its file, Docker's own rules take its place: containers
# run under it. Given: NAME and FILE, the profile's; LOADED, the kernel's list of profiles; PLAIN, Docker's rules in base64.
if [ -e "$FILE" ]; then apparmor_parser -r -T -W "$FILE"
elif grep -q "^$NAME " "$LOADED"; then printf %s "$PLAIN" | base64 -d | apparmor_parser -K -r
fi
