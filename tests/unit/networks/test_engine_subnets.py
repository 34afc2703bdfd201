"""The subnets that engines keep in files, however these were written."""

import pytest

from facts.core.reading import Block, Section
from facts.networks.engine_subnets import read_subnets

CNI, LIBVIRT = "/etc/cni/net.d/87-x.conflist", "/etc/libvirt/qemu/networks/x.xml"


@pytest.mark.parametrize(
    ("path", "row", "subnets"),
    [
        (CNI, '      "subnet": "10.89.0.0/24",', ["10.89.0.0/24"]),
        (CNI, '{"ranges":[[{"subnet":"10.89.0.0/24"}],[{"subnet":"fd00:89::/64"}]]}', ["10.89.0.0/24", "fd00:89::/64"]),
        (LIBVIRT, "  <ip address='192.168.122.1' netmask='255.255.255.0'>", ["192.168.122.0/24"]),
        (LIBVIRT, "  <ip family='ipv6' address='fd00:122::1' prefix='64'>", ["fd00:122::/64"]),
        (CNI, '"subnet": "nonsense"', []),
    ],
)
def test_subnets(path: str, row: str, subnets: list[str]) -> None:
    assert read_subnets(Section({"subnets": Block(0, f"{path}:{row}\n")})) == tuple((each, path) for each in subnets)
