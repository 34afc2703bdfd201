# shellcheck shell=sh
# The section audit of the survey. Given: FOLDER and COMPILED, where auditd has its rules; TMPFILES, our file of folders;
# CANDIDATES, paths of the engines.
run auditctl command -v auditctl
[ -d /run/systemd/system ] && run service systemctl show -p LoadState,UnitFileState,ActiveState auditd.service
have auditctl && { run status auditctl -s; run rules auditctl -l; }
[ -d "$FOLDER" ] && run folder ls "$FOLDER"
for f in "$COMPILED" "$FOLDER"/*.rules "$TMPFILES"; do [ -e "$f" ] && show "$f"; done
there() { for p in $CANDIDATES; do [ -e "$p" ] && echo "$p"; done; :; }
run there there
:
