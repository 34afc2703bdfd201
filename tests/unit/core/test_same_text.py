"""Files of another version of hullproof, or with an admin's comments, say the same."""

from __future__ import annotations

import pytest

from deploys.core.same_text import same_text

UNIT = "[Unit]\nDescription=Loads it\n\n[Service]\nExecStart=/bin/true\n"


@pytest.mark.parametrize(
    ("there", "wanted", "same"),
    [
        ("# ours\nx = 1\n", "# of another version\n\nx = 1\n", True),
        ("x = 1", "x = 1\n", True),
        ("x = 1\ny = 2\n", "y = 2\nx = 1\n", False),
        ("#x = 1\n", "x = 1\n", False),
        (UNIT, UNIT.replace("Loads it", "Loads the tables at boot"), True),
        (UNIT, UNIT.replace("true", "false"), False),
        ("#include <abstractions/base>\n", "# include is a word here\n", False),
        ("#!/bin/sh\nx\n", "#!/bin/bash\nx\n", False),
        ("# observed since 5\nx\n", "# observed since 6\nx\n", False),
        (None, "", False),
    ],
)
def test_what_counts(there: str | None, wanted: str, same: bool) -> None:
    assert same_text(there, wanted) is same
