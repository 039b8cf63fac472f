# flprivacy: the two commands that matter are `make audit` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: audit test fuzz check bench ui compile format lock clean help

help: ## show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Installs once; again only when the lock or the project file changed.
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

audit: $(STAMP) ## run the whole privacy audit on the embedded demo, end to end
	@$(BIN)/flprivacy run study --preset demo

test: $(STAMP) ## run the tests
	@$(BIN)/python -m pytest tests --ignore=tests/benchmarks -n logical --dist loadfile

fuzz: $(STAMP) ## read tens of thousands of damaged files
	@FLPRIVACY_FUZZ=20 $(BIN)/python -m pytest tests/fuzz --override-ini timeout=3600

check: $(STAMP) ## format, lint, types, import rules, compiled pipelines
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pipelines.compile --check

bench: $(STAMP) ## speed and coverage, side by side with the naive references
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

ui: $(STAMP) ## open the MLflow UI on what was run
	@$(BIN)/flprivacy ui

compile: $(STAMP) ## compile the pipelines, write the components' READMEs
	$(BIN)/python -m pipelines.compile
	$(BIN)/python -m components.readme

format: $(STAMP) ## format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve the dependencies again (needs uv)
	uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra cpu --extra dev --override lock-overrides.txt -o requirements.lock pyproject.toml

clean: ## remove what was run (not the installation)
	rm -rf .flprivacy
