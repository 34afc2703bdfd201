# shellcheck shell=sh
# Loads the flows of FILE through UNIT; without FILE, deletes the flows that were loaded (LOADED, by bridge).
if [ -e "$FILE" ]; then systemctl restart "$UNIT"; else
  for f in "$LOADED"*; do
    [ -e "$f" ] && ovs-ofctl --timeout=30 del-flows "${f#"$LOADED"}" 2>/dev/null
    rm -f "$f"
  done
fi
