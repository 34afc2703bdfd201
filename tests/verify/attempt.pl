# Makes the attempts listed in its argument and prints what came of each. Needs nothing but perl-base.
# In: a line per attempt, fields parted by tabs: name, verb, arguments. Out: name, value, errno, text.
use strict; use Socket; use POSIX ();
$| = 1;
my ($SECONDS, $MORE) = (5, 30);    # more for what takes work on a busy host, and waits for nobody
sub value { my ($k, $v) = split /:/, $_[0], 2; $k eq "i" ? 0 + $v : $k eq "x" ? pack("H*", $v) : "$v\0" }
sub failed { (-1, $! + 0, $_[0] // "") }
sub spill { my ($path, $mode, $text) = @_; my $f; sysopen($f, $path, $mode) or return failed("open");
    my $n = syswrite($f, $text); defined $n ? ($n, 0, "") : failed("write") }
sub slurp { my ($path) = @_; my ($f, $t); sysopen($f, $path, 0) or return failed("open");
    defined sysread($f, $t, 4096) ? (0, 0, $t) : failed("read") }
sub address { my ($where, $port) = @_; $port eq "-" and return (PF_UNIX, pack_sockaddr_un($where));
    my $family = $where =~ /:/ ? AF_INET6 : AF_INET; my $ip = Socket::inet_pton($family, $where);
    ($family, $family == AF_INET ? pack_sockaddr_in($port, $ip) : Socket::pack_sockaddr_in6($port, $ip)) }
my %verb = (
    call => sub { my ($number, @given) = @_; my @v = map { value($_) } @given;
        my $r = syscall(0 + $number, @v); $r == -1 ? failed() : ($r, 0, "") },
    read => \&slurp,
    write => sub { spill($_[0], 1, $_[1]) },
    rewrite => sub { my @r = slurp($_[0]); $r[1] ? @r : spill($_[0], 1, $r[2]) },
    connect => sub { my ($where, $port, $say) = @_; my ($family, $to) = address($where, $port);
        my $s;
        socket($s, $family, SOCK_STREAM, 0) && connect($s, $to) or return failed("connect");
        my $t = ""; if (defined $say) { syswrite($s, "$say\r\n\r\n"); sysread($s, $t, 4096) } (0, 0, $t) },
    listen => sub { alarm 0; my ($s, $c); socket($s, AF_INET, SOCK_STREAM, 0);
        bind($s, pack_sockaddr_in($_[0], $_[1] ? inet_aton($_[1]) : INADDR_ANY)) && listen($s, 8) or return failed("listen");
        close $c while accept($c, $s); failed("accept") },
    forge => sub { my ($from, $to, $text) = @_; my $s;    # a datagram to discard (RFC 863), from an address of choice
        socket($s, AF_INET, SOCK_RAW, 255) && setsockopt($s, 0, 3, 1) or return failed("socket");    # IP_HDRINCL
        my $head = pack("C2 n3 C2 n a4 a4", 0x45, 0, 0, 1, 0, 64, 17, 0, inet_aton($from), inet_aton($to));
        send($s, $head . pack("n4 a*", 9, 9, 8 + length $text, 0, $text), 0, pack_sockaddr_in(9, inet_aton($to)))
            or return failed("send"); (0, 0, "") },
    masquerade => sub { my ($device, $as, $to) = @_; my ($s, $f);    # ARP's question (RFC 826), as of somebody else
        my ($index, $mac) = map { open($f, "<", "/sys/class/net/$device/$_") or return failed("open"); <$f> } qw(ifindex address);
        $mac = pack("H12", $mac =~ s/://gr); socket($s, 17, SOCK_RAW, unpack("S", pack("n", 0x806))) or return failed("socket");
        my $frame = "\xff" x 6 . $mac . pack("n3 C2 n", 0x806, 1, 0x800, 6, 4, 1) . $mac . inet_aton($as) . "\0" x 6 . inet_aton($to);
        send($s, $frame, 0, pack("S a2 i S C C a8", 17, pack("n", 0x806), $index, 1, 0, 6, "\xff" x 6)) or return failed("send");
        (0, 0, "") },
    sniff => sub { my ($device, $last) = @_; my ($s, $f); my $t = "";    # the texts of such datagrams
        open($f, "<", "/sys/class/net/$device/ifindex") or return failed("open"); my $index = <$f> + 0;
        socket($s, 17, SOCK_DGRAM, unpack("S", pack("n", 3))) or return failed("socket");
        bind($s, pack("S a2 i S C C a8", 17, pack("n", 3), $index, 0, 0, 0, "")) or return failed("bind");
        eval { local $SIG{ALRM} = sub { die }; alarm 60;
            while ($t !~ /$last/) { recv($s, my $p, 2048, 0);
                $t .= substr($p, 28) . " " if unpack("x9 C x12 n", $p . "\0" x 28) == 17 && unpack("x22 n", $p) == 9 } };
        (0, 0, $t) },
    forks => sub { my ($most) = @_; my ($why, @made, $end, $go) = (0); alarm $MORE; pipe($end, $go);    # so many children
        while (@made < $most) { my $p = fork(); $why = $! + 0, last unless defined $p;                  # at once, until we go
            if (!$p) { close $go; sysread($end, my $t, 1); POSIX::_exit(0) } push @made, $p }
        close $go; waitpid($_, 0) for @made; $why ? (-1, $why, "after " . @made) : (scalar @made, 0, "") },
    fill => sub { alarm $MORE; my $t = "x" x $_[0]; (length $t, 0, "") },    # so many bytes of memory
    exec => sub { my $p; alarm $MORE; open($p, "-|", @_) or return failed("exec");
        local $/; my $t = <$p>; close $p; ($? & 127 ? 128 + ($? & 127) : $? >> 8, 0, $t) },
);
for (split /\n/, $ARGV[0]) {
    my ($name, $do, @given) = split /\t/;
    my $child = fork() // die "fork: $!";
    if (!$child) {
        open(STDERR, ">&", \*STDOUT); alarm $SECONDS;
        my ($value, $errno, $text) = $verb{$do}->(@given);
        $text = substr($text, 0, 400); $text =~ s/[^ -~]+/ /g;
        syswrite(STDOUT, join("\t", $name, $value, $errno, $text) . "\n"); POSIX::_exit(0);
    }
    waitpid($child, 0); my $signal = $? & 127;
    $signal == 14 ? print "$name\t-1\t110\tno answer\n" : $signal && print "$name\t-1\t0\tkilled by signal $signal\n";
}
