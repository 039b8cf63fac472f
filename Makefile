# flprivacy: the two commands that matter are `make audit` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: audit test fuzz check bench ui compile images sbom e2e conformance format lock clean help

help: ## show what can be made
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Installs once; again only when the lock or the project file changed.
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

audit: $(STAMP) ## run the whole privacy audit on the embedded demo, end to end
	@$(BIN)/flprivacy run study --preset demo

test: $(STAMP) ## run the tests
	@$(BIN)/python -m pytest tests --ignore=tests/benchmarks -n logical --dist loadfile --no-loadscope-reorder

fuzz: $(STAMP) ## read tens of thousands of damaged files
	@FLPRIVACY_FUZZ=20 $(BIN)/python -m pytest tests/fuzz --override-ini timeout=3600

check: $(STAMP) ## format, lint, types, import rules, compiled pipelines
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pipelines.compile --check
	$(BIN)/python -m k8s.images --check

bench: $(STAMP) ## speed and coverage, side by side with the naive references
	@failed=""; for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || failed="$$failed $$file"; done; \
		if [ -n "$$failed" ]; then echo "missed their marks:$$failed"; exit 1; fi

ui: $(STAMP) ## open the MLflow UI on what was run
	@$(BIN)/flprivacy ui

compile: $(STAMP) ## compile the pipelines, write the components' READMEs
	$(BIN)/python -m pipelines.compile
	$(BIN)/python -m components.readme
	$(BIN)/python -m k8s.images

IMAGES := $(BIN)/python -m images.build $(PROFILE) $(if $(BASE),--base $(BASE)) \
  $(if $(PYTHON_VERSION),--python $(PYTHON_VERSION))

images: $(STAMP) ## build the container images (PROFILE=audit BASE=... REPOSITORY=... PUSH=1)
	@$(IMAGES) $(if $(REPOSITORY),--repository $(REPOSITORY)) $(if $(PUSH),--push)

sbom: $(STAMP) ## write the images' bills of materials and licences to build/images
	@$(IMAGES) --bill

e2e: $(STAMP) ## from nothing: build the images, run an audit in them against S3, PostgreSQL and MLflow
	@$(BIN)/python -m tests.in_images.run $(if $(BASE),--base $(BASE))

conformance: $(STAMP) ## does a cluster do what it should? (KFP_ENDPOINT, FLPRIVACY_STORE)
	@$(BIN)/python -m tests.conformance.run

format: $(STAMP) ## format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

UV ?= uv
LOCK := $(UV) pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# The images hold the versions that the tests run with.
LOCK_IMAGE := $(LOCK) --python-platform x86_64-manylinux_2_28 --constraint requirements.lock

lock: ## resolve the dependencies again (needs uv)
	$(LOCK) --extra all --extra dev --override lock-overrides.txt -o requirements.lock pyproject.toml
	$(LOCK_IMAGE) --extra all -o images/audit/requirements.lock pyproject.toml
	$(LOCK_IMAGE) --extra all-gpu -o images/train/requirements.lock pyproject.toml
	$(LOCK_IMAGE) -o images/mlflow/requirements.lock images/mlflow/requirements.in
	$(LOCK_IMAGE) --allow-unsafe -o images/build-requirements.lock images/build-requirements.in
	$(LOCK) -o images/inventory.lock images/inventory-requirements.in

clean: ## remove what was run (not the installation)
	rm -rf .flprivacy
