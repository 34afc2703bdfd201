# Adds Docker to a bare root ($1) as `apt install --no-install-recommends docker.io` leaves it: without the AppArmor parser;
# and nftables, which Debian's installer brings.
set -eu
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -qq --no-install-recommends $LAB_PACKAGES > /dev/null
rm -rf "$1"/var/cache/apt/archives/*.deb
