"""systemd-nspawn as it is on a host."""

from facts.engines.nspawn.nspawn import Nspawn as Nspawn
