# make check: the fast one, before each commit.   make test: it and the main job on real hosts, from a clean machine.
# make fuzz: whole runs over broken and hostile answers, for many minutes.   make drills: what takes many reboots.
# make demo: a real host hardened and proved before your eyes.   make bench: what a run costs.
VENV ?= .venv
BIN = $(VENV)/bin
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# What the lab needs on this machine: the tools that make a disk out of Debian packages, and the emulator too.
LAB_PACKAGES = mmdebstrap e2fsprogs fdisk uidmap openssh-client openssh-server busybox-static

# A pipe fails with its first command.
SHELL = /bin/bash
.SHELLFLAGS = -o pipefail -c

.PHONY: check lint processes shells unit fuzz-briefly fuzz test bench demo demo-down docs drills lab-packages lab-debian12 lab-debian13

$(VENV)/.ready: requirements.lock
	python3 -m venv $(VENV) 2>/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q python3-venv && python3 -m venv $(VENV); }
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.lock
	touch $@

check: $(VENV)/.ready
	$(MAKE) -j2 lint processes unit fuzz-briefly

lint:
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What starts pyinfra or a shell for each case waits for it; beside the rest that costs nothing.
PROCESSES = $(patsubst %,tests/unit/test_%.py,reboot kernel_trial kernel_words entry_points run_ends)
# Dozens of processes for each case, or ten thousand rows of each kind: too long for the fast one.
SHELLS = $(patsubst %,tests/unit/test_%.py,kernel_checks large)

processes:
	$(BIN)/pytest -q $(PROCESSES)

shells:
	$(BIN)/pytest -q $(SHELLS)

unit:
	$(BIN)/pytest -q tests/unit $(addprefix --ignore=,$(PROCESSES) $(SHELLS))

# The same few examples each time; `fuzz` tries others each time.
fuzz-briefly:
	$(BIN)/pytest -q tests/fuzz

fuzz: $(VENV)/.ready
	$(BIN)/pytest -q tests/fuzz --hypothesis-profile=long

# The lab installs from the mirror of this machine's apt, which knows it once it has package lists.
lab-packages:
	@dpkg -s $(LAB_PACKAGES) >/dev/null 2>&1 && ls /var/lib/apt/lists/*Release >/dev/null 2>&1 || { echo "installing Debian packages: $(LAB_PACKAGES)"; \
	  $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(LAB_PACKAGES); }

test: lab-packages check shells
	$(MAKE) -j2 lab-debian12 lab-debian13

# Each distribution's hosts are built, then tested, beside the other's: two emulated machines for two processors.
lab-debian12 lab-debian13: lab-%:
	$(BIN)/python -m tests.lab build $(addprefix $*-,$(VARIANTS))
	PYTHONUNBUFFERED=1 $(BIN)/pytest -v tests/lab -m "not drill" --distribution $* 2>&1 | sed -u 's/^/$*: /'

lab-debian12: VARIANTS = stock weak owned
lab-debian13: VARIANTS = stock weak bare

# Kernel updates, SELinux from nothing, AppArmor profiles, auditd, declared networks: many reboots, so on their own.
# Debian 14 is still in the making: the lab itself and the main job alone are tried there.
drills: lab-packages $(VENV)/.ready
	$(BIN)/pytest -v tests/lab -m drill
	$(BIN)/pytest -v $(patsubst %,tests/lab/test_%.py,lab stock weak) --distribution debian14

bench: lab-packages $(VENV)/.ready
	$(BIN)/python -m tests.bench

demo: lab-packages $(VENV)/.ready
	$(BIN)/python -m tests.lab.demo

demo-down: $(VENV)/.ready
	$(BIN)/python -m tests.lab.demo down

docs: $(VENV)/.ready
	$(BIN)/python -m docs.generate
