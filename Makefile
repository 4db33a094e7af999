# `make run` and `make test` do all their set-up themselves, on a fresh machine too.
SHELL := bash
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run test lint unit e2e image bench gain clean

PYTHON := .venv/bin/python
OLLAMA := tests/e2e/ollama_build/install_ollama.sh
OLLAMA_TOOLS := curl openssl go cmake ninja:ninja-build c++:g++ npm

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/installed ## the proxy in front of the Ollama it finds, or of a simulated one
	@.venv/bin/keepwarm serve --config config/keepwarm.yaml --or-demo

test: ## everything: lint, unit, e2e, image; installs what it needs (CI runs this)
	@rm -f build/not-run
	@$(MAKE) --no-print-directory lint unit e2e image
	@if [ -s build/not-run ]; then echo "====== NOT RUN on this machine:"; cat build/not-run; else echo "====== all parts ran"; fi

lint: .venv/ready ## ruff, mypy, import-linter
	@echo "== lint"
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

unit: .venv/ready ## the fast tests: no real Ollama
	@echo "== unit"
	@$(PYTHON) -m pytest

e2e: .venv/ready ## the tests on the real Ollama with a pretended GPU (the first time builds it: 7 minutes)
	@.ci/part e2e "$(OLLAMA_TOOLS)" $(OLLAMA) "$(PYTHON) -m pytest -m e2e"

image: ## build the Dockerfile and start the image
	@.ci/part image "root buildah crun debootstrap ip:iproute2" true tests/image/build_and_run.sh

bench: .venv/ready ## what the proxy costs, beside nginx and a bare relay
	@.ci/part bench "nginx wrk" true "$(PYTHON) tests/bench/run.py"

gain: .venv/ready ## what the proxy saves, on the real Ollama with a pretended GPU
	@.ci/part gain "$(OLLAMA_TOOLS)" $(OLLAMA) "$(PYTHON) tests/bench/gain.py"

clean: ## remove what was generated here (the built Ollama stays in the user's cache)
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find proxy tests -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: pyproject.toml
	@python3 -c 'import ensurepip' 2>/dev/null || apt-get install -y python3 python3-venv
	@echo "== installing keepwarm into .venv"
	@python3 -m venv .venv
	@.venv/bin/pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/ready: .venv/installed
	@echo "== installing what the tests need into .venv"
	@.venv/bin/pip install -q --disable-pip-version-check -e '.[dev,e2e]'
	@touch $@
