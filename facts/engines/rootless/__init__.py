"""Users who run containers without root, as a host lets them."""

from facts.engines.rootless.rootless import Rootless as Rootless
