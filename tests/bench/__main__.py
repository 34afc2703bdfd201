"""`python -m tests.bench [HOSTS ...]`: prints tables in Markdown; fleets of 1, 50, 200 and 1,000 hosts if not told."""

from __future__ import annotations

import sys

from deploys.run.look import facts_of
from deploys.subjects import SUBJECTS
from facts.core.frame import survey_script
from tests.bench import fleet, host, survey
from tests.bench.server import sshd

FLEETS = [1, 50, 200, 1000]
REPEAT = 3


def main(fleets: list[int]) -> None:
    answers = list(host.variants(fleet.VARIANTS))
    with sshd(answers) as server:
        script = server.folder / "survey.sh"
        script.write_text(survey_script(facts_of(SUBJECTS)))
        states = ", ".join(f"{count} {state}" for state, count in host.judged(answers[0]).most_common())
        print(f"a recorded host, policy {host.POLICY}: {states}; {len(answers[0]):,} bytes as it sends them\n")
        print(fleet.HEADING, flush=True)
        for row in fleet.rows(server, script, fleets, REPEAT):
            print(row, flush=True)
        print(fleet.MEANING.format(at_once=fleet.AT_ONCE))
        for row in survey.rows(script):
            print(row, flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or FLEETS)
