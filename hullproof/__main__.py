"""`python -m hullproof`."""

from hullproof.command import main

main(prog_name="hullproof")
