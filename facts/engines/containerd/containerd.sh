# shellcheck shell=sh
# The section containerd of the survey. No client is started where a package says its version: its files say what it will
# do, and its socket since when it runs. Given: CONFIG, its file, and VERIFIERS and CERTS, the folders that it has
# without a word.
have containerd || exit 0
run containerd command -v containerd
# A file that its command line names is read in place of config.toml. What that says by a variable is only known of the
# process that runs.
if [ -d /run/systemd/system ]; then
  unit=$(systemctl show -p ActiveState,RequiredBy,BoundBy,ConsistsOf,MainPID,ExecStart containerd.service 2>&1)
  run unit kept "$unit" $?
  line=${unit#*argv\[\]=} pid=${unit#*MainPID=} last=
  line=${line%% ;*} pid=${pid%%[!0-9]*}
  case $line in *\$*)
    line=
    [ ! -r "/proc/$pid/cmdline" ] || line=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    run line kept "$line" 0
    ;;
  esac
  set -f
  for word in $line; do
    case $last in --config | -config | -c) CONFIG=$word ;; esac
    case $word in --config=* | -config=* | -c=*) CONFIG=${word#*=} ;; esac
    last=$word
  done
  set +f
fi
case $CONFIG in /*) ;; *) CONFIG=/$CONFIG ;; esac
run config kept "$CONFIG" 0
package=
if have dpkg-query; then package=$(dpkg-query -W -f '${db:Status-Abbrev} ${Version} ${Package}\n' containerd containerd.io runc crun 2>/dev/null)
elif have rpm; then package=$(rpm -q --qf 'ii  %{VERSION}-%{RELEASE} %{NAME}\n' containerd containerd.io runc crun); fi
case $package in *'i  '*' containerd'*) run package kept "$package" 0 ;; *) run version containerd --version ;; esac
imports=$(sed -nE -e '/^[[:space:]]*imports[[:space:]]*=/{' -e ':a' -e 's/#.*//' -e '/\]/!{N' -e 'ba' -e '}' -e 's/\].*//' -e 'p' -e '}' "$CONFIG" 2>/dev/null | tr ',' '\n' | sed -nE "s|.*[\"']([^\"' ]+)[\"'].*|\1|p")
show "$CONFIG"
times=$CONFIG patterns=''
set -f
for f in $imports; do # a path that is not whole begins where the file is
  case $f in /*) ;; *) f=${CONFIG%/*}/$f ;; esac
  patterns="$patterns $f"
done
set +f
[ -z "$patterns" ] || run imports kept "$patterns" 0
for f in $patterns; do
  [ ! -f "$f" ] || { run "import $f" cat -- "$f"; times="$times $f"; }
done
# shellcheck disable=SC2086 # paths without blanks
run sockets stat -L -c '%a %U %G %Y %Z %n' $times /run/containerd/containerd.sock
# Kubernetes speaks to the plugin CRI: containers of its namespace, sandboxes that were kept, or its kubelet.
used=
for f in /run/containerd/io.containerd.runtime.v2.task/k8s.io/* /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/*; do
  [ ! -e "$f" ] || used=$f
done
! have kubelet || used=kubelet
run used kept "$used" 0
# The runtimes' versions: containerd.io brings runc along, which has no package of its own then.
[ -z "$used" ] || for program in runc crun; do
  case "$package " in *"i  "*" $program"[!.a-z]*) ;; *) ! have $program || run "version $program" $program --version ;; esac
done
# The folders of registries and of image verifiers, and what else is a bin_dir, such as CNI's.
named=$(sed -nE "s/^[[:space:]]*(config_path|bin_dir)[[:space:]]*=[[:space:]]*[\"'](\/[^\"' ]+)[\"'].*/\2/p" $times 2>/dev/null | tr : ' ')
set -- $CERTS $VERIFIERS $named
run folders kept "$*" 0
run verifiers find -L "$@" -maxdepth 1 -type f -perm -u+x
for d; do set -- "$@" "$d"/*/hosts.toml; shift; done
run registries grep -sHnE '^[^#]*(http://|skip_verify *= *true)' "$@" /dev/null
# Its own sockets, among all that listen.
if [ "${pid:-0}" != 0 ]; then
  # One of them may close meanwhile, which is an error to ls.
  opened=$(ls -l "/proc/$pid/fd" 2>&1) || [ -x "/proc/$pid/fd" ]
  run open kept "$opened" $?
  run listening grep -shE ' 0A ' /proc/net/tcp /proc/net/tcp6
fi
[ ! -e /sys/fs/selinux/enforce ] || run selinux kept yes 0
:
