# What udev runs when the bridge br-late comes or goes: `cut` has sshd take no new connection, `mend` lets it again.
if [ "$1" = cut ]; then
  nft 'add table inet lab; add chain inet lab in { type filter hook input priority 0; }; add rule inet lab in tcp dport 22 ct state new drop'
  sh /etc/lab-cut
else
  nft delete table inet lab
fi
