# Tidemark's entry points. Everything lands in .venv, .jars and .tidemark of this folder.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast test-faults soak $(BENCHES) check lock clean
BIN := .venv/bin
# Two workers, each with its own Spark session, Redis and Kafka: a test of these keeps little more than one core busy. A file
# is run by one worker, and files are begun in the order of their names, so that the quickest are what is left at the end.
WORKERS := 2
SIDE_BY_SIDE := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
CODE := tidemark quality intake runtime conf streaming spark_jobs serving emr data cli bench tests
BENCHES := bench-speed bench-fresh bench-serve bench-batch bench-ingest bench-peers bench-keys bench-start bench-answers bench-recovery
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" pyproject.toml

# The first interpreter that fits, or one line that says what to install.
FIND_PYTHON = for each in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	if $$each -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	then python=$$each; break; fi; done; \
	if [ -z "$$python" ]; then echo "Python 3.11, 3.12 or 3.13 with venv is missing: apt-get install python3 python3-venv\
	 (Debian, Ubuntu), brew install python@3.13 (macOS), or make PYTHON=/path/to/python3" >&2; exit 1; fi

CHECK_JAVA = java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java; \
	version=$$($$java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1); \
	if [ "$${version:-0}" -lt 17 ]; then echo "Java 17 or newer is missing: apt-get install openjdk-17-jre-headless\
	 (Debian, Ubuntu), brew install openjdk@17 (macOS), or set JAVA_HOME" >&2; exit 1; fi

help: ## Show these targets
	@sed -n -e 's/^\([a-z-]*\):.*## /  make \1\t/p' -e 's/^$$(BENCHES):.*## /  make bench-…\t/p' Makefile | expand -t 20

setup: ## Virtual environment, dependencies, Spark jars; does nothing when nothing changed
	@$(CHECK_JAVA); \
	wanted=$$({ cat requirements.lock pyproject.toml setup.py runtime/*.jars.lock runtime/java/io/tidemark/*; $$java -version; } 2>&1 | cksum); \
	if [ "$$wanted" != "$$(cat .venv/setup.stamp 2>/dev/null)" ]; then \
		[ -x $(BIN)/python ] || { $(FIND_PYTHON); $$python -m venv .venv; } || exit 1; \
		echo "setting up .venv (the first time takes some minutes) …"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --config-settings editable_mode=compat -e . && \
		$(BIN)/python -m runtime.jars spark && $(BIN)/python -m runtime.state_store && \
		$(BIN)/python -m runtime.class_archive && \
		echo "$$wanted" > .venv/setup.stamp; \
	fi

setup-dev: setup
	@wanted=$$(cat requirements-dev.lock runtime/kafka.jars.lock | cksum); \
	if [ "$$wanted" != "$$(cat .venv/setup-dev.stamp 2>/dev/null)" ]; then \
		echo "adding what the tests need …"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.lock && \
		$(BIN)/python -m runtime.jars kafka && echo "$$wanted" > .venv/setup-dev.stamp; \
	fi

demo: setup ## The whole pipeline on embedded defaults; ends by Ctrl-C, or by itself: make demo DEMO_SECONDS=60
	@$(BIN)/tidemark demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: setup-dev ## The tests, with real Redis, Spark and Kafka, and the coverage
	@$(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE) --cov --cov-report=term $(PYTEST_ARGS)

test-faults: setup-dev ## Every fault: kills, lost checkpoints, Redis, Kafka and disks that fail (long)
	@$(BIN)/python -m pytest tests/faults tests/simulation $(SIDE_BY_SIDE) $(PYTEST_ARGS)

soak: setup-dev ## Half an hour at 2,000 events/s with a kill each minute (SOAK_ARGS="--minutes 4 --rate 500")
	@$(BIN)/python -m bench.soak $(SOAK_ARGS)

test-fast: setup-dev ## The tests that start no JVM
	@$(BIN)/python -m pytest -m "not spark and not kafka" $(PYTEST_ARGS)

$(BENCHES): bench-%: setup-dev ## Figures: a table, and bench/results/<name>.json (docs/PERFORMANCE.md)
	@$(BIN)/python -m bench.$* $(BENCH_ARGS)

check: setup-dev ## Style, types, and the direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

lock: setup-dev ## Resolve requirements*.lock anew from pyproject.toml
	$(UV_COMPILE) --extra spark --extra embedded --output-file requirements.lock
	$(UV_COMPILE) --all-extras --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove build products and caches (not .venv, .jars or data)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage htmlcov spark-warehouse
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
