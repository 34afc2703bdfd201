# Frames made by hand and sockets, for what ip(8) and ping do not try. Runs on hosts: perl-base alone.
#   bridges.pl listen FILE DEVICE...     every marker "hp:NAME;" seen on these devices, a line "DEVICE NAME" each
#   bridges.pl send DEVICE HEX NAME      a frame of these bytes and the marker in 24 bytes, padded
#   bridges.pl serve ADDRESS PORT PROTO  answers whoever comes
#   bridges.pl ask ADDRESS PORT PROTO    exit 0 if answered within 2 s
use strict; use warnings; use Socket qw(:all);
my ($verb, @arguments) = @ARGV;
my ($AF_PACKET, $ALL) = (17, pack('n', 3));

sub raw {
    my $device = shift;
    open my $file, '<', "/sys/class/net/$device/ifindex" or die "$device: $!\n";
    my $index = <$file> + 0;
    socket my $socket, $AF_PACKET, SOCK_RAW, unpack('S', $ALL) or die "socket: $!\n";
    my $address = pack('S a2 i S C C a8', $AF_PACKET, $ALL, $index, 0, 0, 0, '');
    bind $socket, $address or die "$device: $!\n";
    return ($socket, $address);
}

if ($verb eq 'listen') {
    my ($path, @devices) = @arguments;
    my %sockets = map { $_ => (raw($_))[0] } @devices;
    open my $out, '>', $path or die; select $out; $| = 1; print "ready\n";
    while (1) {
        my $bits = ''; vec($bits, fileno $sockets{$_}, 1) = 1 for @devices;
        select $bits, undef, undef, undef;
        for my $device (@devices) {
            next unless vec $bits, fileno $sockets{$device}, 1;
            my $from = recv $sockets{$device}, my $frame, 4096, 0;
            next if !defined $from || (unpack 'S a2 i S C', $from)[4] == 4;    # what this device itself sent
            print "$device $1\n" while $frame =~ /hp:([\w-]+);/g;
        }
    }
} elsif ($verb eq 'send') {
    my ($device, $hex, $name) = @arguments;
    my ($socket) = raw($device);
    my $frame = pack('H*', $hex) . pack('a24', "hp:$name;");
    $frame .= "\0" x (64 - length $frame) if length $frame < 64;
    for (1 .. 2) { send $socket, $frame, 0 or die "send: $!\n" }
} else {
    my ($address, $port, $proto) = @arguments;
    my $six = $address =~ /:/;
    my $place = $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
    my $stream = $proto eq 'tcp';
    socket my $socket, $six ? AF_INET6 : AF_INET, $stream ? SOCK_STREAM : SOCK_DGRAM, 0 or die;
    if ($verb eq 'serve') {
        setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1;
        bind $socket, $place or die "bind: $!\n";
        if ($stream) { listen $socket, 9; while (accept my $client, $socket) { syswrite $client, 'hello'; close $client } }
        else { while (my $from = recv $socket, my $data, 99, 0) { send $socket, 'hello', 0, $from } }
    }
    alarm 2;
    connect $socket, $place or exit 1;
    send $socket, 'hi', 0;
    recv $socket, my $answer, 5, 0;
    exit !(defined $answer && $answer eq 'hello');
}
