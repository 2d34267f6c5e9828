PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
# Only `evaluate` and pictures need these: the image, which serves, is smaller without.
NOT_IN_IMAGE := contourpy cycler fonttools kiwisolver matplotlib narwhals pillow pyparsing river scipy
# Most tests wait rather than compute, so a few run at once on each processor, each worker with a
# Kafka and a PostgreSQL of its own. A module's tests stay together: they share what it started.
WORKERS ?= 4
BY_MODULE := --dist loadfile --no-loadscope-reorder
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Images with Python often set it: each of the processes of the tests would compile all it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo test alone computing unit check docs bench hostile cluster image chart go lock proto clean tools wrk npm buildah
.DEFAULT_GOAL := help

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 11

install: tools .venv/installed .venv/kernels ## .venv with .venv/bin/foremesh, from pinned dependencies

demo: install ## four minutes: what foremesh gains over a keep-alive that spends the same
	$(BIN)/foremesh demo

test: npm install build/kafka/.fetched build/browser/.fetched ## unit, integration and acceptance tests
	$(MAKE) --no-print-directory --jobs 2 alone computing
	$(BIN)/pytest -m "not alone" -n $(WORKERS) $(BY_MODULE) tests/acceptance tests/integration

alone: npm install build/kafka/.fetched build/browser/.fetched
	$(BIN)/pytest -m alone tests/acceptance

# Gives way to what runs alone, which mostly waits: together they take as long as that takes.
computing: install
	nice -n 19 $(BIN)/pytest -n logical $(BY_MODULE) tests/simulation tests/unit

unit: install ## tests without I/O, in seconds: of what is tried at random a fifth of make test's
	$(BIN)/pytest -n logical $(BY_MODULE) --hypothesis-profile=quick tests/unit

check: install ## lint, format, types, shape of the code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit/test_shape.py tests/unit/test_imports.py

docs: install ## build/docs, from docs/ and the code; a broken link fails
	rm -rf build/docs
	$(BIN)/sphinx-build -q -W --keep-going -d build/docs/.read docs build/docs

bench: wrk npm install build/kafka/.fetched build/browser/.fetched ## measure throughput and latency
	$(BIN)/pytest -q -s tests/benchmarks

hostile: install build/kafka/.fetched ## a quarter of an hour of hostile records, requests and names at all that runs
	$(BIN)/pytest -q -s tests/hostile

cluster: install build/kafka/.fetched ## test on a real Kubernetes, as root; Go builds it first, in half an hour
	$(BIN)/python tests/cluster/binaries.py
	$(BIN)/pytest -q -s tests/cluster

image: buildah install ## build the image on a base of Debian's and test it, as root, in minutes
	$(BIN)/pytest -q tests/image

chart: install ## render the Helm chart and test it; Go builds Helm first where there is none
	$(BIN)/pytest -q tests/chart

go: install ## build the documented instance in Go and test it
	@command -v go >/dev/null || { echo "Go is missing: install it, it builds the example"; exit 1; }
	$(BIN)/pytest -q tests/go

lock: ## pin the newest dependencies in deploy/requirements*.txt (needs uv)
	echo 'hatchling editables' | tr ' ' '\n' | $(COMPILE) - pyproject.toml --extra local \
	  --extra kubernetes --extra parquet --extra tracing --extra zstd --group dev --group docs --upgrade \
	  --output-file deploy/requirements.txt
	$(COMPILE) pyproject.toml --extra mesh --extra kubernetes --extra tracing --constraints deploy/requirements.txt \
	  $(NOT_IN_IMAGE:%=--no-emit-package %) --output-file deploy/requirements-image.txt
	echo hatchling | $(COMPILE) - --constraints deploy/requirements.txt \
	  --output-file deploy/requirements-build.txt

proto: install ## make KEDA's messages and handler from streams/provisioners/keda/externalscaler.proto
	$(BIN)/python -m grpc_tools.protoc -Istreams/provisioners/keda --python_out=streams/provisioners/keda \
	  --pyi_out=streams/provisioners/keda externalscaler.proto
	$(BIN)/python -m grpc_tools.protoc -Istreams/provisioners/keda=streams/provisioners/keda --grpc_python_out=. \
	  streams/provisioners/keda/externalscaler.proto

clean: ## remove all that was made
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

tools:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is missing: install it, or say make PYTHON=path"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing: install python3-venv"; exit 1; }
	@PATH="$$JAVA_HOME/bin:$$PATH" java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' \
	  || { echo "Java 17 or later is missing: install a Java runtime"; exit 1; }
	@command -v mvn >/dev/null || test -e build/kafka/.fetched \
	  || { echo "Maven is missing: install it, it fetches Kafka's jars once"; exit 1; }

wrk:
	@command -v wrk >/dev/null || { echo "wrk is missing: install the package wrk, it generates load"; exit 1; }

buildah:
	@test "$$(id -u)" = 0 || { echo "make image needs root: it mounts the image"; exit 1; }
	@command -v buildah >/dev/null && command -v debootstrap >/dev/null \
	  || { echo "buildah or debootstrap is missing: install both packages"; exit 1; }

npm:
	@command -v npm >/dev/null || test -e build/browser/.fetched \
	  || { echo "npm is missing: install Node.js, it fetches the browser of the tests once"; exit 1; }

.venv/installed: deploy/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-cache-dir --require-hashes -r deploy/requirements.txt
	$(BIN)/pip install --quiet --no-cache-dir --no-deps --no-build-isolation -e .
	touch $@

# What the models compute runs as machine code; workers read it back from beside the sources.
.venv/kernels: $(wildcard streams/models/*.py streams/models/*/*.py \
  streams/allocator/valuation/*.py) .venv/installed
	rm -rf streams/models/__pycache__/kernels
	$(BIN)/python -c 'import streams.pipeline.assembly'
	touch $@

build/kafka/.fetched: deploy/pom.xml | install
	$(BIN)/python -c "import pathlib; from streams.devstack.tools import kafka_jars; kafka_jars(pathlib.Path('build'))"
	touch $@

# A browser for the tests of the dashboard, which needs no root and no library of the system.
build/browser/.fetched: $(wildcard deploy/browser/*)
	rm -rf build/browser
	mkdir -p build/browser
	cp deploy/browser/package.json deploy/browser/package-lock.json build/browser
	npm ci --prefix build/browser --ignore-scripts --no-fund --no-audit --silent
	node deploy/browser/unpack.mjs build/browser
	touch $@
