# shellcheck shell=sh
# The SSH_CONNECTION of the nearest ancestor process that has it. Its argument is another root, for tests.
ssh_connection() {
  p=$$ root=${1:-}; set --
  while [ "${p:-0}" -gt 1 ]; do
    set -- "$@" "$root/proc/$p/environ"; q=
    while read -r k v; do [ "$k" = PPid: ] && q=$v && break; done 2>/dev/null <"$root/proc/$p/status"
    p=$q
  done
  cat "$@" 2>/dev/null | tr '\0' '\n' | grep -m 1 '^SSH_CONNECTION='
}
