# U-Net Segmenter. `make` alone prints the targets; everything made lies under .build, build and dist.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

# Every target can be called from any directory, with `make -C`.
root := $(CURDIR)
dev := "$(root)/.build/dev/bin/python"
engine := "$(root)/.build/engine/bin/python"
set_up = source "$(root)/.build/system.env" && "$$BASE_PYTHON" "$(root)/scripts/set_up.py"
lints := lint-style lint-format lint-types lint-imports lint-security lint-metadata

.PHONY: help setup setup-engine setup-dev demo train-demo test test-long test-backends lint $(lints) format package bench env lock clean

help: ## Print this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: setup-engine ## Install what is missing, to map and to train (TensorFlow: 2 GB more).
	@$(set_up) training

setup-engine: ## The part of it that maps: QGIS, the engine's environment, a private profile.
	@bash scripts/system_packages.sh
	@$(set_up) engine plugin

setup-dev: setup ## The same, and the environments that lint and tests need.
	@$(set_up) dev qgis reference

demo: setup-engine ## Map the vegetation of a real aerial image with the bundled model.
	@$(engine) scripts/demo.py

train-demo: setup ## Train a small model on real images, evaluate it, and say where the report is.
	@$(engine) scripts/train_demo.py

test: setup-dev ## Run the whole test suite, but for the long tests.
	@$(dev) scripts/run_tests.py

test-long: setup-dev ## Run the long tests alone (half an hour and more).
	@$(dev) scripts/run_tests.py --long

test-backends: ## Test training on JAX and PyTorch, on the processor (installs 2.4 GB).
	@bash scripts/system_packages.sh
	@$(set_up) backends
	@.build/backends/bin/python scripts/run_tests.py --backends

lint: $(lints) ## Check style, types, imports, security and metadata.

# Without QGIS: lint needs the development environment alone.
.build/.lint-ready:
	@bash scripts/system_packages.sh
	@$(set_up) dev
.PHONY: .build/.lint-ready

lint-style: .build/.lint-ready
	@$(dev) -m ruff check .
lint-format: .build/.lint-ready
	@$(dev) -m ruff format --check .
lint-types: .build/.lint-ready
	@$(dev) -m mypy
lint-imports: .build/.lint-ready
	@.build/dev/bin/lint-imports
	@$(dev) scripts/check_imports.py
lint-security: .build/.lint-ready
	@$(dev) -m bandit -q -r -c pyproject.toml unet_segmenter training scripts
	@git ls-files -z | xargs -0 $(dev) -m detect_secrets.pre_commit_hook --baseline .secrets.baseline
lint-metadata: .build/.lint-ready
	@$(dev) scripts/check_metadata.py

format: .build/.lint-ready ## Format the code and apply the linter's safe corrections.
	@$(dev) -m ruff format .
	@$(dev) -m ruff check --fix .

package: ## Write dist/unet_segmenter-VERSION.zip, the plugin as QGIS installs it.
	@python3 scripts/stage.py package

bench: setup-dev ## Print px/s, the ratio to the bare runtime, and peak memory.
	@$(dev) scripts/bench.py

env: ## Print `export` lines for a shell: eval "$(make -s env)".
	@$(MAKE) setup >&2
	@$(set_up) env

lock: .build/.lint-ready ## Pin the newest versions in the locks, with their hashes.
	@bash scripts/lock.sh

clean: ## Remove what make made: environments, caches, packages.
	rm -rf .build build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
