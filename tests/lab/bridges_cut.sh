# What udev runs when the bridge br-late comes or goes: sshd takes no new connection while it is there.
if [ "$1" = add ]; then
  nft 'add table inet lab; add chain inet lab in { type filter hook input priority 0; }; add rule inet lab in tcp dport 22 ct state new drop'
  sh /etc/lab-cut
elif [ "$1" = remove ]; then
  nft delete table inet lab
fi
