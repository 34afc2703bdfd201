"""pyinfra's inventory, whole or cut down to a part of its hosts. Importing this has gevent patch the process.

A limit would do the same for the run, but pyinfra looks at every host again for every name in it, and prepares those
that are left out as well: ten seconds for each part of 10,000 hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyinfra_cli.inventory as pyinfras
from pyinfra.api.inventory import Inventory


class Members(list[Any]):
    """Hosts of a group. pyinfra asks of each host whether it is in there already."""

    def __init__(self) -> None:
        super().__init__()
        self._there: set[int] = set()

    def __contains__(self, host: object) -> bool:
        return id(host) in self._there

    def append(self, host: Any) -> None:
        self._there.add(id(host))
        super().append(host)


class Groups(dict[str, Any]):
    """A group is made when it is asked for, as in pyinfra's."""

    def __missing__(self, name: str) -> Members:
        made = self[name] = Members()
        return made


class Whole(Inventory):
    """`given`: the groups as the inventory's files have them, NAME -> (hosts, data)."""

    def __init__(self, names_data: Any, override_data: Any = None, **groups: Any) -> None:
        self.given: Mapping[str, Any] = groups
        super().__init__(names_data, override_data, **groups)  # type: ignore[no-untyped-call]

    def make_hosts_and_groups(self, names: Any, groups: Any) -> None:
        self.groups = Groups()
        super().make_hosts_and_groups(names, groups)


def cut_down(only: frozenset[str]) -> None:
    """From now on, an inventory that pyinfra loads has these hosts alone. Group data still see all of them."""

    class Part(Whole):
        def __init__(self, names_data: Any, override_data: Any = None, **groups: Any) -> None:
            if override_data is not None:  # the one that the run gets; group data see one that is made without
                names, data = names_data
                # What a connector makes of its own name is known only then.
                names_data = [each for each in names if _name(each) in only or _name(each).startswith("@")], data
            super().__init__(names_data, override_data, **groups)
            if override_data is not None:
                self.hosts = {name: host for name, host in self.hosts.items() if name in only}
                for name, group in self.groups.items():
                    self.groups[name] = [host for host in group if host.name in only]

    pyinfras.Inventory = Part


def _name(each: Any) -> str:
    return str(each[0] if isinstance(each, tuple) else each)
