# `make run` and `make test` do all their set-up themselves, on a fresh machine too.
SHELL := bash
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run demo test lint unit faults soak monitoring browser deploy e2e image bench bench-policy gain fuzz clean

PYTHON := .venv/bin/python
OLLAMA := tests/e2e/ollama_build/install_ollama.sh
PROMETHEUS := prometheus promtool:prometheus
OLLAMA_TOOLS := curl openssl go cmake ninja:ninja-build c++:g++ npm

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/installed ## the proxy in front of the Ollama it finds, or of a simulated one
	@.venv/bin/keepwarm serve --config config/keepwarm.yaml --or-demo

demo: .venv/installed ## a simulated Ollama, the proxy and a day of traffic in 24 minutes, with the page to look at
	@.venv/bin/keepwarm demo --traffic --speed 60 --load-speed 500MiB

test: ## everything: lint, unit, faults, soak, monitoring, browser, deploy, e2e, image; installs what it needs (CI runs this)
	@rm -f build/not-run
	@$(MAKE) --no-print-directory lint unit faults soak monitoring browser deploy e2e image
	@if [ -s build/not-run ]; then echo "====== NOT RUN on this machine:"; cat build/not-run; else echo "====== all parts ran"; fi

lint: .venv/ready ## ruff, mypy, import-linter
	@echo "== lint"
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

unit: .venv/ready ## the fast tests: no real Ollama
	@echo "== unit"
	@$(PYTHON) -m pytest --ignore tests/faults

faults: .venv/ready ## every fault in every phase of a request, and the table of what clients see
	@echo "== faults"
	@$(PYTHON) -m tests.faults.report

soak: .venv/ready ## a thousand connections and random faults; SOAK_SECONDS=180 SOAK_SEED=1
	@echo "== soak"
	@$(PYTHON) -m pytest tests/soak -m soak -rA --soak-seconds $(or $(SOAK_SECONDS),180) --soak-seed $(or $(SOAK_SEED),1)

monitoring: .venv/ready ## rules, alerts and every expression of the dashboards, with a real Prometheus
	@.ci/part monitoring "$(PROMETHEUS)" true "$(PYTHON) -m pytest -m monitoring"

browser: .venv/ready ## the tests of the page in headless Chromium; pictures of it in build/screenshots
	@.ci/part browser chromium true "$(PYTHON) -m pytest -m browser"

deploy: .venv/ready ## Compose file, systemd unit and Helm chart, by their own tools (the first time builds Helm: 90 s)
	@.ci/part deploy "go systemd-analyze:systemd" tests/deploy/install_helm.sh "$(PYTHON) -m pytest -m deploy tests/deploy"

e2e: .venv/ready ## the tests on the real Ollama with a pretended GPU (the first time builds it: 7 minutes)
	@.ci/part e2e "$(OLLAMA_TOOLS) $(PROMETHEUS)" $(OLLAMA) "$(PYTHON) -m pytest -m e2e"

image: ## build the Dockerfile and start the image
	@.ci/part image "root buildah crun debootstrap ip:iproute2" true tests/image/build_and_run.sh

bench: .venv/ready ## what the proxy costs, beside nginx and a bare relay
	@.ci/part bench "nginx wrk" true "$(PYTHON) tests/bench/run.py"

bench-policy: .venv/ready ## how well the policy decides, on real traces, beside others' and the exact bounds
	@$(PYTHON) -m tests.bench.policy $(BENCH_POLICY)

gain: .venv/ready ## what the proxy saves, on the real Ollama with a pretended GPU
	@.ci/part gain "$(OLLAMA_TOOLS)" $(OLLAMA) "$(PYTHON) tests/bench/gain.py"

fuzz: .venv/ready ## made-up bodies and requests, each for SECONDS (300); a finding stops it
	@.venv/bin/pip install -q --disable-pip-version-check -e '.[fuzz]'
	@$(PYTHON) tests/fuzz/bodies.py --seconds $(or $(SECONDS),300)
	@$(PYTHON) tests/fuzz/heads.py --seconds $(or $(SECONDS),300)

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
	@.venv/bin/pip install -q --disable-pip-version-check -e '.[dev,browser,deploy,e2e]'
	@touch $@
