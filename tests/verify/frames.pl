# Raw frames between two ports of a bridge. Given: receive or send, a device, a marker. Exit 0 where the marker came.
use strict; use warnings; use Socket;
my ($verb, $device, $marker) = @ARGV;
my $every = pack 'n', 3;    # ETH_P_ALL, as the kernel wants it
open my $file, '<', "/sys/class/net/$device/ifindex" or die "$device: $!\n";
my $index = <$file> + 0;
socket my $socket, 17, SOCK_RAW, unpack('S', $every) or die "socket: $!\n";    # AF_PACKET
bind $socket, pack('S a2 i S C C a8', 17, $every, $index, 0, 0, 0, '') or die "$device: $!\n";
if ($verb eq 'receive') {
    $SIG{ALRM} = sub { exit 1 };
    alarm 4;
    while (1) { recv $socket, my $frame, 2048, 0; exit 0 if index($frame, $marker) >= 0 }
}
for (1 .. 8) {
    # To everybody, from a locally administered address, of the type that is set aside for experiments.
    send $socket, pack('H*', 'ffffffffffff02000000dead88b5') . pack('a60', $marker), 0;
    select undef, undef, undef, 0.25;
}
