"""What is installed: folders of this repository, in one package. All else about it is in pyproject.toml."""

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

FOLDERS = ("deploys", "facts", "inventories", "templates", "tests")
FOUND = find_namespace_packages(
    include=["hullproof*", "deploys*", "facts*", "inventories*", "templates*", "tests", "tests.verify*"],
    exclude=["*__pycache__*"],
)


class BuildPy(build_py):
    """Of tests/ itself only that it is a package; and config.py, which pyinfra wants at the top of a clone."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        found = [row for row in found if package != "hullproof.tests" or row[1] == "__init__"]
        return [*found, (package, "config", "config.py")] if package == "hullproof" else found

    def find_data_files(self, package, src_dir):
        return [] if package == "hullproof.tests" else super().find_data_files(package, src_dir)


setup(
    packages=[name if name.startswith("hullproof") else f"hullproof.{name}" for name in FOUND],
    package_dir={"hullproof": "hullproof", **{f"hullproof.{name}": name for name in FOLDERS}},
    package_data={"": ["*"]},
    cmdclass={"build_py": BuildPy},
)
