# shellcheck shell=sh
# Given: UNITS. What keeps one of them, where it is installed, from being run by a boot, as the files have it:
# systemctl(1) shows what systemd has loaded. Files of /run are gone at the next boot.
set -- /etc/systemd/system/*.wants /etc/systemd/system/*.requires /usr/local/lib/systemd/system/*.wants \
  /usr/lib/systemd/system/*.wants /usr/lib/systemd/system/*.requires
wanted() { # UNIT: whether a target starts it; a link to /dev/null hides one of the same name
  for w in "$@"; do
    hides=/etc/systemd/system/${w#*/systemd/system/}/$unit
    [ -L "$w/$unit" ] && { [ ! -e "$hides" ] || [ -s "$hides" ]; } && return 0
  done; return 1; }
for unit in $UNITS; do
  file=
  for d in /etc /usr/local/lib /usr/lib; do
    f=$d/systemd/system/$unit
    if [ -e "$f" ]; then file=$f; break; fi
  done
  [ -n "$file" ] || continue
  if [ ! -s "$file" ]; then run "masked $unit" echo "$file"; continue; fi
  case $unit in systemd-*) wanted "$@" || run "unwanted $unit" echo "$file";; esac
  changed=; case $file:$unit in *:hullproof-*) ;; /etc/*) changed=$file;; esac
  for d in /usr/lib /usr/local/lib /etc; do
    for f in $d/systemd/system/service.d/*.conf $d/systemd/system/${unit%%-*}-.service.d/*.conf \
      $d/systemd/system/$unit.d/*.conf; do [ -s "$f" ] && changed="$changed $f"; done
  done
  [ -n "$changed" ] || continue
  # shellcheck disable=SC2086 # one argument per file
  run "changed $unit" grep -sHE '^[[:space:]]*(Condition|Assert|ExecStart=)' $changed
  # shellcheck disable=SC2086
  grep -sqE '^[[:space:]]*(Condition|Assert)' $changed && run "conditions $unit" systemd-analyze condition --unit="$unit"
done
