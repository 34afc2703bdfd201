"""`make bench`: what hullproof costs the controller and the hosts, beside what others cost, on this machine.

Seconds of processor time are what carries over to other machines: they are those of our own processes, and the least
of several runs, since whatever else runs here makes them greater and never smaller. Nothing here fails for being slow,
only for executing more than once on a host.
"""
