# Everything a person runs, and what .ci/run runs. Every target may be run again, in any order.
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.PHONY: help setup demo run sandbox test lint bench doctor lock clean environment engine

BIN := .venv/bin
SANDBOX := .clawdet/sandbox
# What the pretend servers need of Debian, a browser, and what tests use: the ssh server's tools
# and PostgreSQL's programs. libatomic1 is what the browser's driver is linked with.
PACKAGES := ca-certificates chromium curl iproute2 libatomic1 mmdebstrap nftables openssh-client \
	openssh-server postgresql shellcheck slirp4netns systemd-container zstd

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: engine ## install all it takes: Python packages, engine, plugins, the servers' base image
	@tools/system-packages.sh $(PACKAGES) || true
	@$(BIN)/python -m sandbox setup

demo: setup ## take a customer from the landing page to their own assistant, and on to the end
	@$(BIN)/python -m demo

run: setup ## serve Clawdet here: web, worker and, without keys of your own, the sandbox
	@$(BIN)/python -m local

sandbox: setup ## keep the outside world running for hands-on work
	@$(BIN)/python -m sandbox serve --dir $(SANDBOX)

test: setup lint ## check everything: lint, types, folder rules, tests
	@$(BIN)/python -m pytest

lint: environment ## check style, types and folder rules only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## measure the engine, beside the plain CLI and the usual example; and the web app
	@$(BIN)/python -m bench.engine
	@$(BIN)/python -m bench.web

doctor: environment ## say what this machine has and what it lacks
	@$(BIN)/python -m stacks doctor

lock: environment ## write requirements.txt anew from requirements.in
	@$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url \
		--no-annotate requirements.in -o requirements.txt

clean: ## stop this checkout's sandbox and remove what it and the stacks keep here
	@if [ -e $(SANDBOX) ]; then $(MAKE) environment && \
		$(BIN)/python -m sandbox stop --dir $(SANDBOX); fi
	@rm -rf .clawdet

environment:
	@tools/bootstrap.sh

engine: environment
	@$(BIN)/python -m stacks setup --fallback "$(BIN)/python -m sandbox.plugins install \
		--home $${PULUMI_HOME:-.clawdet/pulumi}"
