# shellcheck shell=sh
# Creates the folders of a tmpfiles.d file that do not exist: `d` would reset mode and owner of those that do. It runs
# again after an undo, with the file that was there before, if any. Given: TMPFILES, the file.
[ -e "$TMPFILES" ] || exit 0
awk '$1 == "d" { print $2 }' "$TMPFILES" | while read -r folder; do
  [ -e "$folder" ] || systemd-tmpfiles --create --prefix="$folder" "$TMPFILES" || exit 1
done
