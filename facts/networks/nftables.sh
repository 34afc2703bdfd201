# shellcheck shell=sh
# The modules that are installed: asking nft to check a rule would load them.
nft_modules() {
  cd "/lib/modules/$(uname -r)/kernel/net" || return
  for f in netfilter/nf_tables.ko* netfilter/nft_*.ko* bridge/netfilter/nft_*.ko*; do
    [ ! -e "$f" ] || { f=${f##*/}; echo "${f%%.ko*}"; }
  done
}
run nft-modules nft_modules
have nft && run nft nft --version
