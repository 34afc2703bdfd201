# Frames made by hand and sockets, for what ip(8) and ping do not try. Runs on hosts: perl-base alone.
#   bridges.pl serve ADDRESS PORT PROTO   answers whoever comes
#   bridges.pl try                        does what stdin says, a line each, in the namespaces that it names (or `host`);
#                                         prints what came through, one name a line
#       listen SPACE DEVICE               "SPACE NAME" for every frame NAME that arrives there
#       serve SPACE ADDRESS PORT PROTO
#       frame SPACE NAME HEX [arp OPERATION HEX-MAC IP HEX-MAC IP | udp FROM TO | icmp6 HEX-FROM HEX-TO HEX-BODY]
#       ask SPACE NAME ADDRESS PORT PROTO "flow NAME" if somebody answers
# One process with its children: on an emulated host, starting programs is what takes long.
use strict; use warnings; use Socket qw(:all); use POSIX ();
my ($AF_PACKET, $ALL, $SETNS, $PATIENCE) = (17, pack('n', 3), (POSIX::uname())[4] eq 'aarch64' ? 268 : 308, 6);
my ($verb, @arguments) = @ARGV;
open my $home, '<', '/proc/self/ns/net' or die;
my @children;

sub enter {
    my $space = shift;
    my $file = $home;
    if ($space ne 'host') { open $file, '<', "/var/run/netns/$space" or die "$space: $!\n" }
    syscall($SETNS, fileno $file, 0x40000000) == 0 or die "$space: $!\n";
}

sub raw {
    my $device = shift;
    socket my $socket, $AF_PACKET, SOCK_RAW, unpack('S', $ALL) or die "socket: $!\n";
    my $request = pack('a16 x24', $device);
    ioctl $socket, 0x8933, $request or die "$device: $!\n";    # SIOCGIFINDEX
    bind $socket, pack('S a2 i S C C a8', $AF_PACKET, $ALL, unpack('x16 i', $request), 0, 0, 0, '') or die "$device: $!\n";
    return $socket;
}

sub hear {
    my ($space, $device) = @_;
    my $socket = raw($device);
    syswrite STDOUT, "ready\n";
    while (1) {
        my $from = recv $socket, my $frame, 4096, 0;
        next if !defined $from || (unpack 'S a2 i S C', $from)[4] == 4;    # what this device itself sent
        syswrite STDOUT, "$space $1\n" while $frame =~ /hp:([\w-]+);/g;
    }
}

sub place {
    my ($address, $port, $proto) = @_;
    my $six = $address =~ /:/;
    socket my $socket, $six ? AF_INET6 : AF_INET, $proto eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM, 0 or die;
    return $socket, $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
}

sub serve {
    my ($socket, $place) = place(@_);
    setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $socket, $place or die "bind: $!\n";
    listen $socket, 9 if $_[2] eq 'tcp';
    syswrite STDOUT, "ready\n";
    if ($_[2] eq 'tcp') { while (accept my $client, $socket) { syswrite $client, 'hello'; close $client } }
    else { while (my $from = recv $socket, my $data, 99, 0) { send $socket, 'hello', 0, $from } }
}

sub ask {
    my ($name, @where) = @_;
    my ($socket, $place) = place(@where);
    alarm $PATIENCE;
    connect $socket, $place or return;
    send $socket, 'hi', 0;
    recv $socket, my $answer, 5, 0;
    syswrite STDOUT, "flow $name\n" if defined $answer && $answer eq 'hello';
}

sub sum {
    my $sum = 0;
    $sum += $_ for unpack 'n*', shift;
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return pack 'n', ~$sum & 0xffff;
}

sub content {
    my ($name, $kind, @more) = @_;
    return '' unless $kind;
    if ($kind eq 'arp') {
        my ($operation, $sender, $from, $target, $to) = @more;
        return pack('H* n H*', '000108000604', $operation, $sender) . inet_aton($from) . pack('H*', $target) . inet_aton($to);
    }
    if ($kind eq 'udp') {    # to port 9, for the 24 bytes of the marker
        my ($before, $after) = (pack('H*', '45000034000040004011'), inet_aton($more[0]) . inet_aton($more[1]));
        return $before . sum($before . $after) . $after . pack('H*', '03e7000900200000');
    }
    my ($from, $to, $body) = map { pack 'H*', $_ } @more;    # with the hop limit that neighbour discovery wants
    $body .= "hp:$name;";
    $body .= "\0" x (length($body) % 2);
    substr $body, 2, 2, sum($from . $to . pack('NN', length $body, 58) . $body);
    return pack('N n C C', 0x60000000, length $body, 58, 255) . $from . $to . $body;
}

sub frame {
    my ($name, $hex, @content) = @_;
    my $frame = pack('H*', $hex) . content($name, @content) . pack('a24', "hp:$name;");
    $frame .= "\0" x (64 - length $frame) if length $frame < 64;
    my $socket = raw('eth0');
    for (1 .. 2) { send $socket, $frame, 0 or die "send: $!\n" }
}

sub child {
    my ($space, $do, @what) = @_;
    my $pid = fork // die;
    if (!$pid) { alarm 120; enter($space); $do->(@what); POSIX::_exit(0) }
    push @children, $pid;
    return $pid;
}

sub try {
    my @lines = map { [split] } <STDIN>;
    my %seen;
    pipe my $read, my $write or die;
    open my $out, '>&', \*STDOUT or die;
    open STDOUT, '>&', $write or die;
    my $take = sub {    # what there is, until nothing comes for so many seconds
        my ($quiet, $enough) = @_;
        while (1) {
            my $bits = ''; vec($bits, fileno $read, 1) = 1;
            return if !select $bits, undef, undef, $quiet;
            sysread $read, my $text, 65536 or return;
            $seen{$_}++ for split /\n/, $text;
            return if $enough && ($seen{ready} // 0) >= $enough;
        }
    };
    for (@lines) {
        my ($what, $space, @more) = @$_;
        child($space, \&hear, $space, @more) if $what eq 'listen';
        child($space, \&serve, @more) if $what eq 'serve';
    }
    $take->(30, scalar @children);
    for (grep { $_->[0] eq 'frame' } @lines) { my (undef, $space, @more) = @$_; enter($space); frame(@more) }
    enter('host');
    my @asking = map { my (undef, $space, @more) = @$_; child($space, \&ask, @more) } grep { $_->[0] eq 'ask' } @lines;
    waitpid $_, 0 for @asking;
    $take->(2);
    kill 'TERM', @children;
    print $out map { "$_\n" } grep { $_ ne 'ready' } sort keys %seen;
}

if ($verb eq 'try') { try() } else { serve(@arguments) }
