# Makes the attempts listed in its argument and prints what came of each. Needs nothing but perl-base.
# In: a line per attempt, fields parted by tabs: name, verb, arguments. Out: name, value, errno, text.
use strict; use Socket; use POSIX ();
$| = 1;
my $SECONDS = 5;
sub value { my ($k, $v) = split /:/, $_[0], 2; $k eq "i" ? 0 + $v : $k eq "x" ? pack("H*", $v) : "$v\0" }
sub failed { (-1, $! + 0, $_[0] // "") }
sub spill { my ($path, $mode, $text) = @_; my $f; sysopen($f, $path, $mode) or return failed("open");
    my $n = syswrite($f, $text); defined $n ? ($n, 0, "") : failed("write") }
sub slurp { my ($path) = @_; my ($f, $t); sysopen($f, $path, 0) or return failed("open");
    my $n = sysread($f, $t, 4096); defined $n ? ($n, 0, $t) : failed("read") }
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
        bind($s, pack_sockaddr_in($_[0], INADDR_ANY)) && listen($s, 8) or return failed("listen");
        close $c while accept($c, $s); failed("accept") },
    exec => sub { my $p; open($p, "-|", @_) or return failed("exec");
        local $/; my $t = <$p>; close $p; ($? >> 8, 0, $t) },
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
