# The fast check before each commit, and the whole test on a clean machine.
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: check test bench demo demo-down

$(VENV)/.ready: pyproject.toml requirements.lock
	python3 -m venv $(VENV)
	$(BIN)/pip install -q -r requirements.lock
	touch $@

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit

.PHONY: docs
docs: $(VENV)/.ready
	$(BIN)/python -m deploys.policy_schema > inventories/policies/policy.schema.json
	$(BIN)/python -m deploys.controls_page > docs/controls.md
