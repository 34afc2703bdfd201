"""The networks of these hosts as a picture: who reaches whom, as declared and as found. Reads only.

    pyinfra INVENTORY deploys/picture.py -y

Prints it for the terminal, and writes it as Mermaid beside the report, HOST.mmd.
"""

import re
import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().with_name("ours.py")))

from deploys.bridges.picture import picture, render_mermaid, render_text
from deploys.bridges.rules import BridgesRules
from deploys.core.text import clean_text
from deploys.run.look import look
from deploys.run.run import begin, show
from deploys.run.session import Session
from deploys.subjects import SUBJECTS
from facts.core.reading import UnknownReading


def show_picture(session: Session, folder: Path) -> None:
    """On the terminal, and as a file beside the report."""
    survey = session.survey
    if survey is None:
        return
    rules = session.policy[BridgesRules]
    try:
        seen = survey.budget.spend(lambda: picture(rules, survey))
    except UnknownReading as error:
        show(clean_text(f"{session.host.name}: its networks cannot be drawn: {error}"))
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', session.host.name)}.mmd"
    path.write_text(render_mermaid(seen), encoding="utf-8")
    show(f"{clean_text(session.host.name)}: its networks ({path})\n{render_text(seen) or '  the policy declares none'}")


run = begin("drift")
session = run.session(SUBJECTS)
look(session)
show_picture(session, run.directory)
