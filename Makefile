# Every target stands in `make help` with a sentence; GNU make 3.81 or newer, on Linux and macOS.
# From the environment: PYTHON (the interpreter that makes .venv) and LECTERN_DATA (a folder of real corpora).
# On the command line: PYTEST_ARGS for the test targets, CHAOS_ARGS for chaos, SERVING_ARGS for bench-serving, ROW for
# reproduce.

.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The compose file and the configuration of Prometheus are checked where their tools are; .ci/run installs both.
COMPOSE_CHECK := if command -v docker-compose >/dev/null; then docker-compose --profile gpu config --quiet; \
	elif docker compose version >/dev/null 2>&1; then docker compose --profile gpu config --quiet; fi
INSTALLED := .venv/.installed
PERF := .bench/perf_analyzer

.PHONY: help
help: ## Say in a sentence what each target does.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(INSTALLED) ## Make .venv and install Lectern in it, with training and development tools.

# One resolve for everything: torch pinned beside its dependants, so that none of them chooses another build.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Lectern needs Python 3.11 or newer, and there is no python3 on PATH."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Lectern needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)."; \
		echo "Install one and say: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[train,dev,emulators]'
	@touch $(INSTALLED)

.PHONY: demo
demo: $(INSTALLED) ## Train a small model, serve it and ask it something, and say where the time went.
	@$(BIN)/lectern demo

.PHONY: up
up: $(INSTALLED) ## Start Redis, a worker and the gateway on this machine, until Ctrl-C.
	@$(BIN)/lectern up

.PHONY: check
check: $(INSTALLED) ## Check lint, format, types, import walls, containers, architecture and documentation.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/gateway.Dockerfile docker/worker.Dockerfile
	@$(COMPOSE_CHECK)
	@if command -v promtool >/dev/null; then promtool check config docker/prometheus.yml && promtool test rules docker/alerts_test.yml; fi
	$(BIN)/python -m pytest tests/docs tests/architecture -q $(PYTEST_ARGS)

.PHONY: test
test: $(INSTALLED) ## Run every test that takes seconds; PYTEST_ARGS adds options.
	$(BIN)/python -m pytest -q -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(INSTALLED) ## Run the tests that train models or start real processes; PYTEST_ARGS adds options.
	$(BIN)/python -m pytest -q -m slow $(PYTEST_ARGS)

.PHONY: soak
soak: $(INSTALLED) ## Run the tests of serving that have a long form in it, a quarter of an hour in all; PYTEST_ARGS adds options.
	$(BIN)/python -m pytest -q -s -m soak --long $(PYTEST_ARGS)

# The newest release of Triton's client whose perf_analyzer starts on Debian 12; the program is linked with CUDA's runtime.
$(PERF)/bin/perf_analyzer: | $(INSTALLED)
	"$(PYTHON)" -m venv $(PERF)
	$(PERF)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps \
		tritonclient==2.49.0 nvidia-cuda-runtime-cu12==12.5.82

.PHONY: perf-analyzer
perf-analyzer: $(PERF)/bin/perf_analyzer ## Ask a gateway with Triton's perf_analyzer, which it installs; Linux on x86-64 with Debian's libb64-0d.
	$(BIN)/python -m pytest -q -s -m slow tests/integration/test_perf_analyzer.py $(PYTEST_ARGS)

# The second run asks how soon a job runs again, with the lease that workers have by default.
.PHONY: chaos
chaos: $(INSTALLED) ## Break a cluster in every way for twenty minutes and check what it promised; CHAOS_ARGS="--jobs 20 --faults 10".
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS_ARGS)
	PYTHONPATH=tests $(BIN)/python -m chaos --lease 15 --recovery 35

.PHONY: compose-test
compose-test: $(INSTALLED) ## Build the images, start the stack of docker-compose.yml and use it; root starts an engine itself.
	$(BIN)/python -m pytest -q -s -m slow tests/containers $(PYTEST_ARGS)

.PHONY: bench-training
bench-training: $(INSTALLED) ## Measure how long training takes, beside a hand-written loop.
	$(BIN)/python -m benchmarks.training

.PHONY: bench-generation
bench-generation: $(INSTALLED) ## Measure a traversal of a served variational autoencoder over HTTP, as numbers and as a picture.
	$(BIN)/python -m benchmarks.generation

.PHONY: bench-sampling
bench-sampling: $(INSTALLED) ## Measure 64 samples of a served DCGAN beside the same network in eager PyTorch.
	$(BIN)/python -m benchmarks.sampling

.PHONY: bench-tagging
bench-tagging: $(INSTALLED) ## Measure a served tagger beside the same network in eager PyTorch, and how much is padding.
	$(BIN)/python -m benchmarks.tagging

.PHONY: bench-flair
bench-flair: $(INSTALLED) ## Measure how fast a tagger trains beside Flair's, which it installs.
	$(BIN)/python -m benchmarks.beside_flair

.PHONY: bench-translation
bench-translation: $(INSTALLED) ## Measure how a translation network trains and is served, beside plain PyTorch.
	$(BIN)/python -m benchmarks.translating

.PHONY: bench-gateway
bench-gateway: $(INSTALLED) ## Measure how soon the gateway is ready and how much memory it holds with one model.
	$(BIN)/python -m benchmarks.gateway

.PHONY: bench-processes
bench-processes: $(INSTALLED) ## Measure the parent of several gateway processes: its memory, a merged scrape, a restart.
	$(BIN)/python -m benchmarks.processes

.PHONY: bench-uploads
bench-uploads: $(INSTALLED) ## Measure an upload of 60,000 pictures, and predictions during an upload of 1 GB.
	$(BIN)/python -m benchmarks.uploads

.PHONY: bench-jobs
bench-jobs: $(INSTALLED) ## Measure how soon a job begins and what its supervision costs.
	$(BIN)/python -m benchmarks.jobs

.PHONY: bench-queue
bench-queue: $(INSTALLED) ## Measure lists, single jobs and metrics with 1,000 jobs queued, and what Redis holds.
	$(BIN)/python -m benchmarks.queue

.PHONY: bench-shell
bench-shell: $(INSTALLED) ## Measure the way from an upload to a served answer by the commands of lectern.
	$(BIN)/python -m benchmarks.shell

.PHONY: bench-serving
bench-serving: $(INSTALLED) ## Measure predictions beside other servers and rewrite docs/benchmarks.md; SERVING_ARGS="--skip-peers".
	$(BIN)/python -m benchmarks.serving $(SERVING_ARGS)

.PHONY: reproduce
reproduce: $(INSTALLED) ## Train the models of docs/results.md and rewrite it; ROW=name for one row, else all.
	$(BIN)/python -m benchmarks.reproduce $(ROW)

.PHONY: clean
clean: ## Remove what tools and builds left behind; .venv and trained models stay.
	rm -rf .coverage .coverage.* .hypothesis .import_linter_cache .pytest_cache .ruff_cache build coverage.xml dist htmlcov
	find . -name .venv -prune -o -type d -name __pycache__ -exec rm -rf {} +
