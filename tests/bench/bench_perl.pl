#!/usr/bin/env perl
# SPDX-License-Identifier: MIT
#
# The yardsticks of the benchmark that Perl's MCE sets (Debian package `libmce-perl`).
#
#   bench_perl.pl map|heavy|apply_async|apply [full|quick]
#
# Prints one figure for every line that it reads, after a first one when it is ready, and
# -1 for a wrong result: seconds for apply, items per second for the others.  Ends without
# a word if MCE is not installed.
use strict;
use warnings;
use Time::HiRes qw(time);

exit 0 unless eval { require MCE; require MCE::Map; MCE::Map->import; 1 };

use constant { WORKERS => 2, HEAVY => 0.001 };

my ($subject, $size) = @ARGV;
my $quick = ($size // 'full') eq 'quick';
$| = 1;

# Busy for so many seconds, as libmp's heavy items are.
sub spin {
    my ($length) = @_;
    my $end = time + $length;
    1 while time < $end;
    return $length;
}

my $square = sub { $_ * $_ };
my $spin = sub { spin($_) };

# Items per second of MCE::Map, with its own chunk size or with one item at a time.
sub rate {
    my ($task, $expected, $chunk, @items) = @_;
    MCE::Map->init(max_workers => WORKERS, chunk_size => $chunk);
    my $before = time;
    my @results = MCE::Map->run($task, @items);
    my $elapsed = time - $before;
    return -1 if @results != @items;
    for my $i (0 .. $#items) {
        return -1 if $results[$i] != $expected->($items[$i]);
    }
    return @items / $elapsed;
}

my $returned;
my $single;

# Seconds for one item, there and back: the median.
sub apply {
    my @times;
    $single //= MCE->new(
        max_workers => WORKERS,
        chunk_size => 1,
        gather => sub { $returned = $_[0] },
        user_func => sub { my ($mce, $chunk) = @_; $mce->gather($chunk->[0]**2) },
    );
    for my $x (1 .. ($quick ? 5 : 200)) {
        my $before = time;
        $single->process([$x]);
        push @times, time - $before;
        return -1 if $returned != $x * $x;
    }
    @times = sort { $a <=> $b } @times;
    return $times[@times / 2];
}

my $squared = sub { $_[0] * $_[0] };
my $same = sub { $_[0] };
my %subjects = (
    map => sub {
        rate($square, $squared, 'auto', map { $_ % 32768 } 1 .. ($quick ? 1000 : 200_000));
    },
    heavy => sub { rate($spin, $same, 1, (HEAVY) x ($quick ? 10 : 200)) },
    apply_async => sub { rate($square, $squared, 1, 1 .. ($quick ? 100 : 5000)) },
    apply => \&apply,
);

my $run = $subjects{$subject} or die "bench_perl.pl: what is $subject?\n";
print "0\n";
print $run->(), "\n" while defined readline STDIN;
MCE::Map->finish;
$single->shutdown if $single;
