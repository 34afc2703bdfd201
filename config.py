"""pyinfra reads this file from the folder it is called in, before it connects to any host."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parent / "deploys" / "ours.py"))

from pyinfra import config

from deploys.run.run import begin_from_command_line

config.REQUIRE_PYINFRA_VERSION = "~=3.10"
begin_from_command_line()
