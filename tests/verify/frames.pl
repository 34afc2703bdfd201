# Frames between two ports of a bridge. Given: receive or send, a device, a marker, and addresses to send IP from as
# well. Exit 0 where the marker came.
use strict; use warnings; use Socket;
my ($verb, $device, $marker, @addresses) = @ARGV;
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

my $all = "\xff" x 6;
my $self = pack 'H*', '02000000dead';    # a locally administered address
my $text = pack 'a60', $marker;

sub checksum {
    my $sum = unpack '%32n*', $_[0];
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

# From the port that throws away to the same (RFC 863): nobody answers a datagram to everybody.
sub udp { my ($sum) = @_; return pack('n4', 9, 9, 8 + length $text, $sum) . $text }

# What lets only addresses of a network pass lets these. The question is that of RFC 5227: whether the address is free,
# from nobody, so that it changes nobody's table of neighbours.
sub four {
    my ($from) = @_;
    my $question = pack('n2 C2 n', 1, 0x800, 6, 4, 1) . $self . "\0" x 10 . $from;
    my $head = pack('C2 n3 C2 n', 0x45, 0, 28 + length $text, 0, 0, 1, 17, 0) . $from . "\xff" x 4;
    substr $head, 10, 2, pack 'n', checksum($head);
    return ("$all$self\x08\x06$question$text", "$all$self\x08\x00$head" . udp(0));
}

sub six {
    my ($from) = @_;
    my $ends = $from . pack 'H*', 'ff02' . '0' x 27 . '1';    # all nodes
    my $sum = checksum($ends . pack('N2', 8 + length $text, 17) . udp(0)) || 0xffff;
    my $head = pack('N n C2', 6 << 28, 8 + length $text, 17, 1) . $ends;
    return pack('H*', '333300000001') . "$self\x86\xdd$head" . udp($sum);
}

# Of the type that is set aside for experiments.
my @frames = "$all$self\x88\xb5$text";
for (@addresses) {
    push @frames, /:/ ? six(Socket::inet_pton(AF_INET6, $_)) : four(Socket::inet_pton(AF_INET, $_));
}
for (1 .. 8) {
    send $socket, $_, 0 for @frames;
    select undef, undef, undef, 0.25;
}
