# `make help` lists the targets. Everything they install lies in ./.venv and in the caches of uv and npm.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

bin := .venv/bin
user := .venv/user/bin
install = python=$$(tools/find-python) && "$$python" tools/install.py
pytest := $(bin)/python -m pytest -q
pytest_user := $(user)/python -m pytest -q
# Most of the time of the heavier tests goes by waiting for processes; each has an installation of its own.
side_by_side := -n 4 --dist worksteal
stages := lint types unit contract system browser
uv = $$(command -v uv || echo $(CURDIR)/$(bin)/uv)
compile = "$(uv)" pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11

# Tests of the client run in the environment that the client lives in.
client_unit = tests/unit/test_client_*.py tests/unit/test_notebook_*.py tests/wire/test_client_*.py
not_client = --ignore-glob='*/unit/test_client_*' --ignore-glob='*/unit/test_notebook_*' --ignore-glob='*/wire/test_client_*'

.PHONY: help up install test test-tools lint types unit contract system browser pictures chart chaos chaos-slurm chaos-kube test-slurm test-kube images push dist docs lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

up: install  ## Install everything into ./.venv and serve: prints one link
	@exec $(bin)/sampan up

install:  ## Install everything into ./.venv
	@$(install) hub user proxy

test-tools: install
	@$(install) test

test:  ## All tests, what CI runs; says how long each stage took
	@for stage in $(stages); do \
	  begun=$$SECONDS; $(MAKE) $$stage; \
	  awk -v s=$$stage -v t=$$((SECONDS - begun)) 'BEGIN { printf "== %s: %.1f min\n", s, t / 60 }'; \
	done; awk -v t=$$SECONDS 'BEGIN { printf "== all: %.1f min\n", t / 60 }'

lint: test-tools  ## Style, format and the arrows between packages
	$(bin)/ruff check
	$(bin)/ruff format --check
	PYTHONPATH=client/src $(bin)/lint-imports --no-cache

types: test-tools  ## mypy strict on both packages
	$(bin)/mypy --strict hub/src
	$(bin)/mypy --strict --python-executable $(user)/python client/src

unit: test-tools  ## Decisions and parts by themselves
	@tools/install-system postgresql='/usr/lib/postgresql/*/bin/initdb' systemd=/usr/bin/systemd-analyze sudo=/usr/sbin/visudo
	$(pytest) $(side_by_side) tests/unit tests/wire $(not_client)
	$(pytest_user) $(side_by_side) $(client_unit)

contract: test-tools  ## What every backend and the API promise
	@tools/install-system postgresql='/usr/lib/postgresql/*/bin/initdb'
	$(pytest) $(side_by_side) tests/contract

system: test-tools  ## The real hub, proxy, service, notebooks and workers
	@tools/install-system postgresql='/usr/lib/postgresql/*/bin/initdb' curl=/usr/bin/curl chromium=/usr/bin/chromium
	$(pytest) $(side_by_side) tests/system

browser: test-tools  ## Debian's Chromium from the link to a cluster
	@tools/install-system chromium=/usr/bin/chromium
	$(pytest) tests/browser

slurm_packages = slurmctld=/usr/sbin/slurmctld slurmd=/usr/sbin/slurmd slurm-client=/usr/bin/squeue munge=/usr/sbin/munged \
  slurmdbd=/usr/sbin/slurmdbd mariadb-server=/usr/sbin/mariadbd sudo=/usr/bin/sudo iproute2=/usr/sbin/ip \
  nftables=/usr/sbin/nft tcpdump=/usr/bin/tcpdump procps=/usr/bin/ps python3.11=/usr/bin/python3.11 chromium=/usr/bin/chromium

test-slurm: test-tools  ## A real Slurm of several machines on this one (needs root)
	@tools/install-system $(slurm_packages)
	timeout --foreground --signal=INT --kill-after=60 45m $(pytest) tests/slurm

test-kube: test-tools  ## A real Kubernetes on this machine, built the first time (needs root)
	@tests/testbeds/kube/build.sh
	timeout --foreground --signal=INT --kill-after=60 40m $(pytest) tests/kube

images:  ## Build the images: BASE_IMAGE=… TAG=…; with `push REGISTRY=…` behind it they go to a registry
	@python=$$(tools/find-python); "$$python" images/build.py build \
	  $(if $(BASE_IMAGE),--base-image "$(BASE_IMAGE)") $(if $(TAG),--tag "$(TAG)")

push:
	@python=$$(tools/find-python); "$$python" images/build.py push $(if $(TAG),--tag "$(TAG)") \
	  "$${REGISTRY:?say where: make images push REGISTRY=registry.example.org/team}"

pictures: test-tools  ## The pictures of the documentation, taken by a browser test
	@tools/install-system chromium=/usr/bin/chromium
	SAMPAN_PICTURES=docs/images $(pytest) tests/browser/test_first_hour.py -k first_hour_02

lab: install  ## Build the JupyterLab extension (needs node ≥ 20.19 and npm); commit what it writes
	$(bin)/python client/lab/build.py

chart: install  ## Make the chart's values.yaml and their schema from the models; commit what it writes
	$(bin)/python -m tools.chart

class: test-tools  ## Forty students at once, through real servers
	@tools/install-system chromium=/usr/bin/chromium
	CLASS_SIZE=40 $(pytest) -s tests/system/test_class.py

bench: test-tools  ## Measure beside the peers, into build/bench and docs/benchmarks.md
	@"$(uv)" venv --quiet --allow-existing --python $(bin)/python .venv/bench; \
	  "$(uv)" pip install --quiet --compile-bytecode --python .venv/bench/bin/python --require-hashes -r tests/bench/requirements.lock
	$(bin)/python -m tests.bench

bench-slurm: test-tools  ## Measure on a real Slurm beside the peers (needs root)
	@tools/install-system $(slurm_packages)
	$(bin)/python -m tests.bench.slurm

bench-kube: test-tools  ## Measure on a real Kubernetes beside the peers (needs root)
	@tests/testbeds/kube/build.sh
	$(bin)/python -m tests.bench.kube

chaos: test-tools  ## Sixty kill -9 in five minutes over everything of ours
	CHAOS_KILLS=60 CHAOS_SECONDS=300 $(pytest) -s tests/system/test_chaos.py

chaos-slurm: test-tools  ## Two hundred faults on a real Slurm (needs root): seed and table
	@tools/install-system $(slurm_packages)
	CHAOS_FAULTS=200 $(pytest) -s tests/slurm/test_faults.py

chaos-kube: test-tools  ## Two hundred faults on a real Kubernetes (needs root): seed and table
	@tests/testbeds/kube/build.sh
	CHAOS_FAULTS=200 $(pytest) -s tests/kube/test_faults_kube.py

dist: test-tools  ## Wheels and source distributions of both packages in ./dist, and the lock of what the hub needs
	@rm -rf dist
	"$(uv)" build --quiet --build-constraints tools/build.lock --out-dir dist hub
	"$(uv)" build --quiet --build-constraints tools/build.lock --out-dir dist client
	@cp hub/requirements.lock dist/sampan-hub.lock; for wheel in dist/sampan_hub-*.whl; do \
	  printf './%s --hash=sha256:%s\n' $$wheel $$(sha256sum <$$wheel | cut -d' ' -f1) >>dist/sampan-hub.lock; done

docs:  ## The documentation as HTML in ./build/docs
	@$(install) hub
	@"$(uv)" venv --quiet --allow-existing --python $(bin)/python .venv/docs; \
	  "$(uv)" pip install --quiet --python .venv/docs/bin/python --require-hashes -r docs/requirements.lock
	.venv/docs/bin/python -m sphinx -q -W --keep-going -b html docs build/docs

lock: test-tools  ## Renew all lock files
	$(compile) --upgrade tools/build.in -o tools/build.lock
	$(compile) --upgrade tools/node.in -o tools/node.lock
	$(compile) --upgrade tools/requirements.in -o tools/requirements.lock
	$(compile) --upgrade hub/pyproject.toml -o hub/requirements.lock
	$(compile) --upgrade client/pyproject.toml --all-extras -o client/requirements.lock
	$(compile) --upgrade tests/requirements.in -o tests/requirements.lock
	$(compile) --upgrade tests/requirements-user.in -o tests/requirements-user.lock
	$(compile) --upgrade tests/bench/requirements.in -o tests/bench/requirements.lock
	$(compile) --upgrade -c client/requirements.lock tests/bench/kube/images/requirements.in -o tests/bench/kube/images/requirements.lock
	$(compile) --upgrade docs/requirements.in -o docs/requirements.lock
	cd hub/proxy && npm update --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

clean:  ## Remove what was built and installed (not ./.sampan)
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
