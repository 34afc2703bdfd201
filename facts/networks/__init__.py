"""Networks as they are on a host."""

from facts.networks.networks import Networks as Networks
