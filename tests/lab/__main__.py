"""The lab on the command line: `python -m tests.lab up debian13-weak`."""

import argparse
import os
import shlex
import sys
import time

from tests.lab.machine import variants
from tests.lab.machine.image import DISTRIBUTIONS, LabError
from tests.lab.machine.vm import Vm, down_all, names


def parser() -> argparse.ArgumentParser:
    """The commands and their words."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    kinds = ", ".join(f"{name}[-{'|-'.join(variants.VARIANTS)}]" for name in DISTRIBUTIONS)
    up = commands.add_parser("up", help="start a host from its snapshot, building it first if need be")
    up.add_argument("kind", help=kinds)
    up.add_argument("--name", help="how to call it (default: its kind)")
    down = commands.add_parser("down", help="end a host and remove its disk")
    down.add_argument("name", nargs="?")
    down.add_argument("--all", action="store_true", help="every host of this checkout")
    commands.add_parser("list", help="the hosts there are")
    ssh = commands.add_parser("ssh", help="log in, or run a command")
    ssh.add_argument("--user", default="root", help="root, ops, opspw or nobodyops")
    ssh.add_argument("name")
    ssh.add_argument("cmd", nargs=argparse.REMAINDER)
    build = commands.add_parser("build", help="make every snapshot now")
    build.add_argument("kind", nargs="*", help="distributions, or single kinds (default: all distributions)")
    commands.add_parser("clean", help="end every host and remove the whole cache")
    return top


def do_up(args: argparse.Namespace) -> None:
    """Start a host and say how to reach it."""
    distribution, _, variant = args.kind.partition("-")
    began = time.monotonic()
    vm = variants.up(distribution, variant or "stock", args.name)
    print(f"{vm.name}: up in {time.monotonic() - began:.1f} s")
    print(f"  ssh        127.0.0.1 port {vm.port} (python -m tests.lab ssh {vm.name})")
    print(f"  inventory  {vm.inventory()}")


def do_down(args: argparse.Namespace) -> None:
    """End one host or all."""
    if args.all:
        down_all()
    elif args.name:
        Vm.attach(args.name).down()
    else:
        raise LabError("say which host, or --all")


def do_list(_: argparse.Namespace) -> None:
    """One line per host."""
    for name in names():
        vm = Vm.attach(name)
        state = "running" if vm.running() else "off"
        print(f"{name}\t{vm.distribution}-{vm.variant}\t{state}\tport {vm.port}\t{vm.inventory()}")


def do_ssh(args: argparse.Namespace) -> None:
    """Become ssh, so that terminals, pipes and exit codes are its own."""
    argv = Vm.attach(args.name).ssh_argv(args.user)
    command = args.cmd[0] if len(args.cmd) == 1 else shlex.join(args.cmd)
    os.execvp(argv[0], [*argv, command] if command else argv)


def do_build(args: argparse.Namespace) -> None:
    """Make what is missing; whole distributions unless a kind names a variant."""
    whole = [kind for kind in args.kind if "-" not in kind]
    if whole or not args.kind:
        variants.build(whole)
    for kind in args.kind:
        distribution, _, variant = kind.partition("-")
        if variant:
            variants.build([distribution], [variant])


def do_clean(_: argparse.Namespace) -> None:
    """Nothing stays but the locks; hosts of another checkout stand on these images, so they forbid it."""
    down_all()
    if others := names():
        raise LabError(f"nothing removed: in use by {', '.join(others)}")
    variants.clean()


def main() -> int:
    """Run one command; what the lab cannot do is said in one line."""
    args = parser().parse_args()
    try:
        globals()[f"do_{args.command}"](args)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
