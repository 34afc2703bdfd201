# shellcheck shell=sh
# The section kvm of the survey. A host without /dev/kvm pays nothing.
[ -e /dev/kvm ] || exit 0
nested=
for module in kvm_intel kvm_amd kvm_hv kvm; do
  value='' file=/sys/module/$module/parameters/nested
  [ ! -r "$file" ] || { read -r value <"$file"; nested="$nested $module=$value"; }
done
run nested kept "$nested" 0
device=$(ls -ln /dev/kvm) # with the mark of an access control list, which stat(1) does not show
run device kept "$device" 0
# shellcheck disable=SC2086 # of words
set -- $device
run accounts grep -sHE ":$4:" /etc/group /etc/passwd
run flags grep -som 1 -wE 'vmx|svm' /proc/cpuinfo
run options grep -sHE '^[[:space:]]*options[[:space:]]+kvm' /etc/modprobe.d/*.conf /run/modprobe.d/*.conf \
  /usr/local/lib/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf /lib/modprobe.d/*.conf /dev/null
:
