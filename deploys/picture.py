"""The networks of these hosts as a picture: who reaches whom, as declared and as found. Reads only.

    pyinfra INVENTORY deploys/picture.py -y

Prints it for the terminal, and writes it as Mermaid beside the report, HOST.mmd.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploys.bridges_picture import show_picture
from deploys.engine.run import begin

run = begin("drift")
session = run.session()
session.look()
show_picture(session, run.directory)
