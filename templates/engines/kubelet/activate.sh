# shellcheck shell=sh
# Restarts the kubelet with its new files. One that does not run is left so.
systemctl daemon-reload
[ "$(systemctl is-active kubelet.service)" != inactive ] || exit 0
systemctl reset-failed kubelet.service 2>/dev/null
timeout 90 systemctl restart kubelet.service
