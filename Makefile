# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick thorough check lint types layers format bench chaos fuzz manual screenshots pictures contracts clean need

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

need:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed. Install it, or name it: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import re, subprocess, sys; v = subprocess.run(["git", "--version"], capture_output=True, text=True).stdout; sys.exit(tuple(map(int, re.findall(r"\d+", v)[:2])) < (2, 38))' 2>/dev/null || \
	  { echo "git 2.38 or newer is needed (merge-tree --write-tree). Install or upgrade git."; exit 1; }

$(STAMP): pyproject.toml packaging/demo/pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory need
	@echo "Setting up $(VENV) (once, about a minute) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' --editable packaging/demo
	@touch $@

setup: $(STAMP) ## Create .venv with everything pinned

demo: $(STAMP) ## Play a story on a GitHub on this machine: make demo ARGS="--play revert --exit"
	@$(BIN)/python -m bot demo $(ARGS)

contracts: $(STAMP)
	@$(BIN)/python tests/contracts/download.py || true

test: $(STAMP) contracts ## Run the tests: of conversations, those that stand for all
	@# Code is compiled once, not again in each of the many processes that tests start.
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto --maxschedchunk=1 $(ARGS)

# Pure tests only: no bot, no GitHub, no database, and so no conftest that would load them. Of the
# house's own two are none: they start a suite and a server. Nor is here what only `make thorough`
# plays. A file stays with one worker, which reads once what its tests look at.
QUICK := tests/canary tests/culprit tests/house tests/intake/comments tests/playbooks/checks \
  tests/playbooks/test_endings_table.py tests/records/documents tests/safety/test_admission.py \
  tests/safety/test_resuming.py tests/safety/test_severity.py \
  tests/test_config.py tests/test_logins.py tests/test_markdown.py tests/test_revisions.py

quick: $(STAMP) ## The pure tests, in half a minute: what judges, parses and says
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -n 2 -m "not thorough" --dist loadfile --noconftest -p tests.plugins.properties -p tests.plugins.garbage --deselect tests/house/test_adding_a_command.py --deselect tests/house/test_at_rest.py $(QUICK) $(ARGS)

thorough: $(STAMP) contracts ## Play the conversations that `make test` leaves out (half an hour)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto --maxschedchunk=1 --thorough $(ARGS)

check: lint types layers ## Lint, format, types, import contracts

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

layers: $(STAMP)
	@$(BIN)/lint-imports --no-cache

format: $(STAMP) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) ## Print the benchmark tables
	@for script in $(filter-out benchmarks/upgrade.py benchmarks/first_minute.py benchmarks/fuzz.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script $(ARGS) || exit 1; done

chaos: $(STAMP) contracts ## The full kill matrix, and Runs begun by the release before
	@# What was survived is in var/chaos, and is not tried again while the code is the same.
	@$(BIN)/python -m pytest -s -m chaos --chaos=full $(ARGS)
	@$(BIN)/python benchmarks/upgrade.py

fuzz: $(STAMP) ## Fuzz every entrance (half an hour): make fuzz ARGS="alerts --seed 7"
	@$(BIN)/python benchmarks/fuzz.py $(ARGS)

manual: $(STAMP) ## Build docs/ and the reference into the server, which shows them at /docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

screenshots: $(STAMP) ## Every page of the cockpit, both themes and widths, into var/screenshots
	@$(BIN)/python -m tests.cockpit.screenshots

pictures: $(STAMP) ## Take today's pictures for README and docs/, and the transcripts of the demo
	@$(BIN)/python -m tests.cockpit.screenshots --documents
	@$(BIN)/python packaging/manual/transcripts.py

clean: ## Remove what setup and runs made
	@rm -rf $(VENV) var build .mypy_cache .ruff_cache .pytest_cache .hypothesis
