"""What network interfaces make of a sysctl that `all` has too, by the kernel's own rules (ip-sysctl.rst): the greater
or the smaller of both counts, or the interface's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from deploys.core.control import Verdict, failed, some
from facts.core.reading import UnknownReading, known
from facts.kernel.sysctls import Setting, Sysctls, as_number

Combine = Callable[[int, int, bool], int]  # of `all`, the interface's own value, and whether the interface forwards


def _greater(every: int, own: int, forwards: bool) -> int:
    return max(every, own)


def _smaller(every: int, own: int, forwards: bool) -> int:
    return min(every, own)


def _by_forwarding(every: int, own: int, forwards: bool) -> int:
    return min(every, own) if forwards else max(every, own)


def _own(every: int, own: int, forwards: bool) -> int:
    return 0 if forwards else own


RP_FILTER = "net.ipv4.conf.all.rp_filter"
COMBINED: Mapping[str, Combine] = {
    "net.ipv4.conf.all.accept_redirects": _by_forwarding,
    "net.ipv4.conf.all.secure_redirects": _greater,
    "net.ipv4.conf.all.send_redirects": _greater,
    "net.ipv4.conf.all.accept_source_route": _smaller,
    RP_FILTER: _greater,
    "net.ipv6.conf.all.accept_redirects": _own,
    "net.ipv6.conf.all.accept_source_route": _smaller,
}


@dataclass(frozen=True)
class Interfaces:
    """The interfaces of a host and one of these keys, `net.ipv4.conf.all.NAME`. `holds` says whether what counts for an
    interface satisfies. `every`: what `all` is going to be; None: what it is."""

    sysctls: Sysctls
    key: str
    holds: Callable[[int], bool]
    every: int | None = None

    @property
    def pattern(self) -> str:
        """The key of all interfaces in sysctl.d(5); an explicit key wins over it."""
        return self.key.replace(".all.", ".*.")

    def key_of(self, interface: str) -> str:
        return self.key.replace(".all.", f".{interface}.")

    def is_one(self, key: str) -> bool:
        """Whether it is the key of a single interface."""
        start, end = self.key.split("all")
        named = key.startswith(start) and key.endswith(end) and key not in (self.key, f"{start}default{end}")
        return named and "*" not in key

    @property
    def _names(self) -> tuple[str, ...]:
        _, ip, _, _, name = self.key.split(".")
        return self.sysctls.interfaces(ip, name)

    def _loose(self, every: int, own: int, interface: str) -> bool:
        forwarding = self.key_of(interface).rpartition(".")[0] + ".forwarding"
        return not self.holds(COMBINED[self.key](every, own, self.sysctls.value(forwarding) == "1"))

    def loose_now(self) -> dict[str, str]:
        """Those for which what counts does not satisfy, with the value of their own."""
        values = {name: str(known(self.sysctls.value(self.key_of(name)))) for name in self._names}
        every = _number(self.key, known(self.sysctls.value(self.key))) if self.every is None else self.every
        return {n: own for n, own in values.items() if self._loose(every, _number(self.key_of(n), own), n)}

    def loose_at_boot(self) -> dict[str, Setting | None]:
        """Those of them for which a boot does not set what satisfies, and what it sets; None: no file has them."""
        stored = known(self.sysctls.stored(self.key))
        every = as_number(stored.value) if stored and self.every is None else self.every
        return dict(self._at_boot(0 if every is None else every))

    def _at_boot(self, every: int) -> Iterator[tuple[str, Setting | None]]:
        default = known(self.sysctls.stored(self.key.replace(".all.", ".default.")))
        for name in self._names:
            setting = known(self.sysctls.stored(self.key_of(name)))
            if setting is None and ".ipv4." in self.key:
                setting = default  # which IPv4 copies to every interface that has no value of its own yet
                if setting is None:
                    continue  # the finding of `default` says so
            own = as_number(setting.value) if setting else 1  # the kernel's own default where that is asked for
            if self._loose(every, 1 if own is None else own, name):
                yield name, setting

    def explicit(self, others: Sysctls) -> list[str]:
        """The keys of single interfaces that other files set, so that a pattern of ours does not reach them."""
        explicit = others.explicit
        return [key for name in self.loose_at_boot() if (key := self.key_of(name)) in explicit]

    def fault(self, verdict: Verdict) -> Verdict:
        """The verdict on `all`, which fails where an interface does not follow it."""
        name, ip = self.key.rpartition(".")[2], "IPv6" if ".ipv6." in self.key else "IPv4"
        read = {"declared": verdict.declared, "disk": verdict.disk}
        if loose := self.loose_now():
            own = some(f"{interface} ({value})" for interface, value in loose.items())
            reason = f"{self.key} is {verdict.live}, but these {ip} interfaces have a {name} of their own: {own}"
            return failed(reason, **read, live={"all": verdict.live, **loose})
        rows = self.loose_at_boot().items()
        if stored := [f"{found.file} sets it to {found.value} for {interface}" for interface, found in rows if found]:
            return failed(f"{self.key} does not count at the next boot: {some(stored)}", **read, live=verdict.live)
        if rows:
            names = some(interface for interface, _ in rows)
            reason = f"no file sets {name} for {names} at boot, and {self.key} does not reach interfaces"
            return failed(reason, **read, live=verdict.live)
        return verdict


def _number(key: str, value: str | None) -> int:
    found = as_number(value)
    if found is None:
        raise UnknownReading(f"{key} is {str(value)[:40]}, which is not a number")
    return found
