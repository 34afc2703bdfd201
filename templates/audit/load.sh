# shellcheck shell=sh
# Loads hullproof's audit rules and leaves those of others: augenrules' own way to load deletes every live rule first.
# It runs again after an undo, when the file of rules is gone. Immutable rules stay as they are until a reboot.
# Given: KEY, which our rules carry, and RULES, their file.
augenrules >/dev/null || exit 1
case $(auditctl -s) in *"enabled 2"*) exit 0 ;; esac
auditctl -D -k "$KEY" >/dev/null || exit 1
[ ! -e "$RULES" ] || auditctl -R "$RULES" >/dev/null
