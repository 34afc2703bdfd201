# A name server that knows one address for every name, at ADDRESS: `perl names.pl 169.254.169.254`.
use strict; use warnings; use IO::Select; use IO::Socket::INET;
my ($at) = @ARGV;
my %here = (LocalAddr => $at, LocalPort => 53);
my $udp = IO::Socket::INET->new(%here, Proto => 'udp') or die "udp: $!";
my $tcp = IO::Socket::INET->new(%here, Proto => 'tcp', Listen => 5) or die "tcp: $!";

sub answer { # to a question's bytes: of A one record, of anything else none
    my ($id, $rest) = unpack 'a2 x10 a*', shift;
    my $end = index $rest, "\0";
    my $known = substr($rest, $end + 1, 2) eq "\0\1";
    my $record = $known ? "\xc0\x0c" . pack 'n2 N n C4', 1, 1, 60, 4, 10, 9, 9, 9 : '';
    return $id . "\x81\x80" . pack('n4', 1, $known ? 1 : 0, 0, 0) . substr($rest, 0, $end + 5) . $record;
}

my $asked = IO::Select->new($udp, $tcp);
while (my @ready = $asked->can_read) {
    for my $socket (@ready) {
        if ($socket == $udp) {
            $udp->recv(my $question, 512);
            $udp->send(answer($question));
        } else {
            my $client = $tcp->accept or next;
            $client->sysread(my $question, 514);
            my $said = answer(substr $question, 2);
            $client->syswrite(pack('n', length $said) . $said);
            close $client;
        }
    }
}
