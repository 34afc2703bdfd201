# The text after ## says what a target is for; `make` alone prints all of them.
VENV ?= .venv
BIN = $(VENV)/bin
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# What the lab needs on this machine: the tools that make a disk out of Debian packages, and the emulator too.
LAB_PACKAGES = mmdebstrap e2fsprogs fdisk uidmap openssh-client openssh-server busybox-static \
  systemd-container attr acl
# What the report's page is tried in.
BROWSER_PACKAGES = chromium chromium-driver

# A pipe fails with its first command.
SHELL = /bin/bash
.SHELLFLAGS = -o pipefail -c

.PHONY: help check lint lint-python lint-types lint-imports lint-spelling lint-shell processes shells unit unit-run fuzz-briefly \
  coverage fuzz test test-pythons bench bench-history demo demo-down docs docs-site lock dist drills lab-packages browser-packages \
  lab-debian12 lab-debian13 lab-breaks watched
.DEFAULT_GOAL := help

help:  ## what there is to make
	@sed -nE 's/^([a-z][a-z0-9 -]*):.*  ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target what; do \
	  printf '%-26s %s\n' "$$target" "$$what"; done

$(VENV)/.ready: requirements.lock
	python3 -m venv $(VENV) 2>/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q python3-venv && python3 -m venv $(VENV); }
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.lock
	touch $@

check: $(VENV)/.ready  ## style, types, unit tests, a little fuzzing: before each commit
	$(MAKE) -j2 unit unit-run lint fuzz-briefly

lint: lint-python lint-types lint-imports lint-spelling lint-shell  ## style, types, imports, spelling, shell scripts

lint-python:  ## style of the Python code: ruff
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .

lint-types:  ## types: mypy
	$(BIN)/mypy

lint-imports:  ## imports go one way, and in no circle
	$(BIN)/lint-imports

lint-spelling:  ## spelling: codespell
	$(BIN)/codespell

lint-shell:  ## shell scripts: shellcheck
	find facts templates tests -name '*.sh' -exec $(BIN)/shellcheck -S warning .ci/run {} +

# What starts pyinfra, or shells that wait, for each case, or plans for every host that was recorded: too long for the
# fast one, and part of the coverage.
PROCESSES = $(patsubst %,tests/unit/run/test_%.py,reboot entry_points run_ends turns incoming planning_hosts armed_undo undo_runs) \
  $(patsubst %,tests/unit/kernel/test_kernel_%.py,engines packages bls) tests/unit/selinux/test_selinux_gate.py \
  tests/unit/engines/docker/test_docker_service.py tests/unit/verify/test_verify_asked.py \
  tests/unit/watching/test_watch_install.py tests/unit/fleet/test_fleet_processes.py \
  $(patsubst %,tests/unit/command/test_%.py,run_command beside_others explain init policy_command completion)
# Dozens of processes for each case, a browser, or ten thousand rows of each kind: too long for the fast one.
SHELLS = $(patsubst %,tests/unit/kernel/test_kernel_%.py,checks trial words) tests/unit/core/test_large.py \
  tests/unit/run/test_lockout.py tests/unit/engines/rootless/test_shift_cut.py tests/unit/lab tests/unit/report/test_page_browser.py \
  tests/unit/command/test_package.py $(patsubst %,tests/unit/fleet/test_fleet_%.py,cluster cut_off)

processes:  ## unit tests that start pyinfra or a shell for each case, or plan for every recorded host
	$(BIN)/pytest -q $(PROCESSES)

shells: browser-packages  ## what takes dozens of processes for each case, or a browser
	$(BIN)/pytest -q $(SHELLS)

unit:  ## the other unit tests, but those of a run
	$(BIN)/pytest -q tests/unit $(addprefix --ignore=,$(PROCESSES) $(SHELLS) tests/unit/run)

unit-run:  ## the other unit tests of a run
	$(BIN)/pytest -q tests/unit/run $(addprefix --ignore=,$(PROCESSES) $(SHELLS))

fuzz-briefly:  ## the same few examples of it each time
	$(BIN)/pytest -q tests/fuzz --hypothesis-profile=brief

coverage: $(VENV)/.ready  ## which lines and branches the fast tests reach, and the floor, which only rises
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q tests/unit tests/fuzz $(addprefix --ignore=,$(SHELLS))
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

fuzz: $(VENV)/.ready  ## whole runs over broken and hostile answers, for half an hour
	$(BIN)/pytest -q tests/fuzz --hypothesis-profile=long

# The lab installs from the mirror of this machine's apt, which knows it once it has package lists.
INSTALLED = dpkg -s $(1) >/dev/null 2>&1 && ls /var/lib/apt/lists/*Release >/dev/null 2>&1 || { echo "installing Debian packages: $(1)"; \
  $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(1); }

lab-packages:  ## the Debian packages that the lab needs
	@$(call INSTALLED,$(LAB_PACKAGES))

browser-packages:  ## the browser that the report's page is tried in, where it is a package
	@if grep -qx ID=debian /etc/os-release; then $(call INSTALLED,$(BROWSER_PACKAGES)); \
	else echo "Chromium is a package on Debian alone: what is tried in it is skipped"; fi

# Two at a time for two processors: an emulated machine, a break matrix and a run of unit tests need one each, so what
# takes longest comes first.
test: lab-packages browser-packages $(VENV)/.ready lint  ## all of it, and the main job on virtual machines, from a clean machine
	$(MAKE) -j2 lab-debian13 lab-debian12 lab-breaks coverage shells watched

# Each distribution's hosts are built, then tested.
lab-debian12 lab-debian13: lab-%:  ## the main job on that distribution
	$(BIN)/python -m tests.lab build $(addprefix $*-,$(VARIANTS))
	PYTHONUNBUFFERED=1 $(BIN)/pytest -v tests/lab -m "not drill" --ignore=$(BREAKS) --distribution $* 2>&1 | sed -u 's/^/$*: /'

BREAKS = tests/lab/test_breaks.py
lab-breaks:  ## each control broken on a real host, named and mended
	$(BIN)/python -m tests.lab build debian13-weak
	PYTHONUNBUFFERED=1 $(BIN)/pytest -v $(BREAKS) 2>&1 | sed -u 's/^/breaks: /'

watched:  ## a watch under a booted systemd, and its alerts at a real Prometheus (as root)
	$(BIN)/pytest -v -x tests/watched 2>&1 | sed -u 's/^/watched: /'

lab-debian12: VARIANTS = stock weak owned
lab-debian13: VARIANTS = stock weak bare

# Kernel updates, SELinux from nothing, AppArmor profiles, auditd, declared networks: many reboots, so on their own.
# Debian 14 is still in the making: the lab itself and the main job alone are tried there.
drills: lab-packages $(VENV)/.ready  ## what takes many reboots on virtual machines
	$(BIN)/pytest -v tests/lab -m drill
	$(BIN)/pytest -v $(patsubst %,tests/lab/test_%.py,lab stock weak) --distribution debian14

bench: lab-packages browser-packages $(VENV)/.ready  ## what a run and its report cost on this machine
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench_page

bench-history: $(VENV)/.ready  ## what a history of 10,000 hosts costs to ask
	$(BIN)/python -m tests.bench_history

demo: lab-packages $(VENV)/.ready  ## a badly configured host in a VM, hardened and proved before your eyes
	$(BIN)/python -m tests.lab.demo

demo-down: $(VENV)/.ready  ## removes what the demo made
	$(BIN)/python -m tests.lab.demo down

docs: $(VENV)/.ready  ## the reference and the JSON Schema, from the code
	$(BIN)/python -m docs.generate

# What follows needs tools that are in no lock, or other Pythons: each gets a folder of its own under build/.
docs-site:  ## the documentation as a website, in build/site
	python3 -m venv build/docs
	build/docs/bin/pip install -q --disable-pip-version-check '.[docs]'
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build -q

COMPILE = build/lock/bin/pip-compile -q --strip-extras --allow-unsafe --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links

lock:  ## makes both locks again: requirements.lock to develop, requirements.txt (with hashes) to operate
	python3 -m venv build/lock
	build/lock/bin/pip install -q --disable-pip-version-check pip-tools
	$(COMPILE) --upgrade --extra dev -o requirements.lock pyproject.toml
	$(COMPILE) --upgrade --generate-hashes -c requirements.lock -o requirements.txt pyproject.toml

# Dated by the commit, so that the same commit makes the same wheel.
dist:  ## the files of a release, in dist/: wheel, source distribution, SBOM of what the wheel brings, lock with hashes
	python3 -m venv build/dist
	build/dist/bin/pip install -q --disable-pip-version-check build cyclonedx-bom
	rm -rf dist build/wheel
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) build/dist/bin/python -m build -o dist . >build/dist.log || { cat build/dist.log; exit 1; }
	python3 -m venv --without-pip build/wheel
	build/dist/bin/pip --python build/wheel install -q --disable-pip-version-check --require-hashes -r requirements.txt
	build/dist/bin/pip --python build/wheel install -q --disable-pip-version-check --no-deps dist/*.whl
	build/dist/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  -o dist/hullproof.cdx.json build/wheel
	cp requirements.txt dist/
	cd dist && sha256sum * >SHA256SUMS

PYTHONS = 3.11 3.12 3.13

test-pythons:  ## the unit tests on every Python that hullproof supports and this machine has
	@for version in $(PYTHONS); do \
	  python$$version -c '' 2>/dev/null || { echo "Python $$version is not on this machine: skipped"; continue; }; \
	  echo "Python $$version"; \
	  python$$version -m venv build/python$$version && \
	  build/python$$version/bin/pip install -q --disable-pip-version-check -r requirements.lock && \
	  build/python$$version/bin/pytest -q tests/unit || exit 1; \
	done
