"""`deploys` and `facts` are hullproof's own in this process from here on. Entry points run it by its path (runpy), for
it is about what these names stand for.

pyinfra puts the folder that it is called in on sys.path, and a repository of somebody's own may have packages of these
names there. Ours come first; but if theirs are loaded already, by their inventory say, neither can be had.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def refuse_others() -> None:
    """Raises PyinfraError where a package of one of our names that is not ours is loaded in this process."""
    for name in ("deploys", "facts"):
        folders = [str(Path(folder).resolve()) for folder in getattr(sys.modules.get(name), "__path__", ())]
        if folders and str(ROOT / name) not in folders:
            from pyinfra.api.exceptions import PyinfraError

            raise PyinfraError(
                f"the package {name} of {Path(folders[0]).parent} is loaded in this process, and hullproof in {ROOT} "
                "has one of that name: run hullproof's deploys in a run of their own, with an inventory, group data "
                f"and a config.py that import nothing from {name}"
            )


refuse_others()
sys.path.insert(0, str(ROOT))
