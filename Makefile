# Everything a newcomer needs: `make run` and `make test` install what is missing first.
# Override: PYTHON=python3.13 make setup · PORT=3001 make run · ARGS="-k settlement" make test

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LINT_VENV := .venv-lint
LINT_INSTALLED := $(LINT_VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format contract demo logs bench bench-quick chaos package deploy health localstack lock clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create .venv with the locked packages and the command oee

$(INSTALLED): requirements-dev.txt requirements-redis.txt infra/install.sh client/pyproject.toml
	@sh infra/install.sh $(VENV)
	@touch $@

run: setup ## Start everything on this machine; Ctrl-C stops it
	@$(BIN)/python -m infra.local

test: setup ## Run every test with coverage (ARGS="-k name" runs some of them)
	@$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n 2 --dist loadgroup --cov --cov-report=term --cov-fail-under=90)

lint: setup $(LINT_INSTALLED) ## Check style, types, imports, templates and packages (AUDIT_STRICT=1: fail if unaudited)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/squawk --no-error-on-unmatched-pattern chalicelib/store/migrations/*.sql
	@$(BIN)/zizmor --quiet --offline --no-progress --min-severity medium .github
	@$(BIN)/python -m infra.lint_templates
	@$(BIN)/python -m infra.audit_packages

# An environment of its own: checkov pins versions that the engine's cannot have.
$(LINT_INSTALLED): requirements-lint.txt | setup
	@echo "Installing what checks templates and packages"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LINT_VENV)
	@$(BIN)/uv pip sync --quiet --python $(LINT_VENV)/bin/python --require-hashes requirements-lint.txt
	@touch $@

format: setup ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

contract: setup ## Write docs/openapi.json, docs/asyncapi.yaml and docs/postman_collection.json anew
	@$(BIN)/python -m infra.contract

demo: setup ## Watch orders that execute and orders that wait on a running stack (ARGS=market, ARGS=waiting)
	@$(BIN)/python -m infra.local.demo $(ARGS)

logs: setup ## Tell one order's story across all functions: make logs ORDER=id (STAGE=prod, ARGS=--follow)
	@$(if $(ORDER),,echo "Which order? make logs ORDER=<its id>"; exit 2;) $(BIN)/python -m infra.logs $(ORDER) --stage $(or $(STAGE),local) $(ARGS)

bench: setup $(BENCH_INSTALLED) ## Measure speed and cost, and write docs/benchmarks.md (ARGS=throughput: one part)
	@$(BIN)/python -m bench $(ARGS)

# Of no use to anything else: what runs and tests the engine does without.
$(BENCH_INSTALLED): requirements-bench.txt $(INSTALLED)
	@echo "Installing what draws charts and profiles"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements-bench.txt
	@touch $@

bench-quick: setup ## Compare the ratios that no machine's speed decides with the recorded ones (ARGS=--record)
	@$(BIN)/python -m bench.quick $(ARGS)

chaos: setup ## Kill parts of a running stack and check that no order is lost or swapped twice
	@$(BIN)/python -m tests.chaos $(ARGS)

package: setup ## Build what is deployed, and say where it is: make package STAGE=prod
	@$(BIN)/python -m infra.packaging --stage $(or $(STAGE),dev)

deploy: setup ## Deploy to AWS: make deploy STAGE=prod, with PACKAGE=folder what was built before
	@$(BIN)/python -m infra.deploy --stage $(or $(STAGE),dev) $(if $(PACKAGE),--package $(PACKAGE))

health: setup ## Wait until a deployed engine says that it is well: make health STAGE=prod
	@$(BIN)/python -m infra.health --stage $(or $(STAGE),dev)

localstack: setup ## Deploy to the emulator of docker-compose.localstack.yml and test it there (ARGS=--serve: use it)
	@$(BIN)/python -m infra.localstack $(ARGS)

lock: setup ## Pin the newest allowed version of every package
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FORMAT) --generate-hashes requirements.in -o requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FORMAT) --generate-hashes requirements-dev.in -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet $(LOCK_FORMAT) --generate-hashes requirements-solana.in -o requirements-solana.txt
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FORMAT) --generate-hashes requirements-lint.in -o requirements-lint.txt
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FORMAT) --generate-hashes requirements-bench.in -o requirements-bench.txt
LOCK_FORMAT := --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url --no-emit-find-links

clean: ## Remove .venv, the local data and every cache
	@if [ -e .local/lock ] && command -v flock >/dev/null && ! flock --nonblock .local/lock true; then \
		echo "The stack is running on the data in .local: stop it first (Ctrl-C where make run runs)."; exit 1; fi
	@rm -rf $(VENV) $(LINT_VENV) .local .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
