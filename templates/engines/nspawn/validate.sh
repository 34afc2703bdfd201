# shellcheck shell=sh
# Succeeds where systemd-nspawn takes all options of the new drop-in, {}, and knows the system calls that they name: with a
# group that it does not know no machine starts, and a call that it does not know is passed over.
set -f
# shellcheck disable=SC2046 # words without blanks
set -- $(sed -n 's/%i/hullproof-asks/g; s/%%/%/g; s/^ExecStart=systemd-nspawn //p' {})
systemd-nspawn "$@" --version >/dev/null || exit 1
calls="$(systemd-analyze syscall-filter @known 2>/dev/null)
"
for option; do
  case $option in --system-call-filter=*) word=${option#*=} && word=${word#\~} ;; *) continue ;; esac
  case $word in
    @*) systemd-analyze syscall-filter "$word" >/dev/null || exit 1 ;;
    *) case $calls in *" $word
"* | '
') ;; *) echo "systemd knows no system call $word" && exit 1 ;; esac ;;
  esac
done
