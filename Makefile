# Needs python3 (>= 3.11) and make; every target sets up what it uses.
#   make demo ARGS=--once   charge what is due, end to end, on this machine
#   make test               the everyday tests; make test-slow: the others

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=

# Where Python may not keep what it compiled, each worker and each started process compiles everything anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo up test test-slow faults mutation check bench clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   create $(VENV) and install the locked dependencies"
	@echo "make demo    run the whole engine on this machine (ARGS=--once: end when all is settled)"
	@echo "make up      run the embedded stack and the services in the foreground"
	@echo "make test    run the everyday tests (ARGS=... goes to pytest)"
	@echo "make test-slow  run the others: whole stacks, real workers, exhaustive searches"
	@echo "make faults  kill, stop and cut off real processes; a failure prints SEED=... ONLY=... (FULL=1: the long run)"
	@echo "make mutation  take each guard of charging away in turn: some test must fail (ARGS='\"refund arm\"': some of them)"
	@echo "make browser run the browser tests (installs Debian's chromium when it is missing)"
	@echo "make check   lint, types, import contracts, migrations, Django's checks"
	@echo "make screenshots  make the pictures in docs/img"
	@echo "make bench   measure the engine beside the bare limit program"

setup: $(READY)

$(READY): uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Kitaran needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot create virtual environments: install its venv package (Debian: apt install python3-venv)." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python
	@touch $@

demo: $(READY)
	@$(BIN)/python manage.py demo $(ARGS)

up: $(READY)
	@$(BIN)/python manage.py up $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow and not browser and not faults" $(ARGS)

test-slow: $(READY)
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m "slow and not browser and not faults" $(ARGS)

# Short: everything marked `faults`. FULL=1, or SEED and ONLY, which a failure prints: the harness that kills.
faults: $(READY)
ifneq ($(FULL)$(SEED)$(ONLY),)
	@$(BIN)/python -m tests.faults.harness $(if $(FULL),--full) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(ARGS)
else
	@$(BIN)/python -m pytest tests/faults tests/hostile tests/mutation tests/stateful -n 3 --dist worksteal -m faults $(ARGS)
endif

mutation: $(READY)
	@$(BIN)/python -m tests.mutation $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING

bench: $(READY)
	@$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf $(VENV)

# Debian's chromium: installed when it is missing, apt-get is there and we are root; else this says what is missing.
CHROMIUM := /usr/bin/chromium
$(CHROMIUM):
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else \
		echo "The browser tests need Debian's chromium: apt-get install chromium (as root)." >&2; exit 1; \
	fi

.PHONY: browser screenshots
browser: $(READY) $(CHROMIUM)
	@$(BIN)/python -m pytest tests/browser -m browser $(ARGS)

screenshots: $(READY) $(CHROMIUM)
	@$(BIN)/python -m pytest tests/browser/make_screenshots.py -m browser -q $(ARGS)
