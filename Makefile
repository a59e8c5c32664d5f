# Backup Key Vault. `make help` lists the targets. Each target installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export BKV_CACHE ?= $(HOME)/.cache/bkv
JOBS ?= $(shell nproc)
CARGO := cargo --locked

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\n  KEEP=1 make demo (or cluster-demo) leaves everything running and prints how to go on\n'

.PHONY: needs
needs: ## Install what is missing from Debian's packages (lists them first)
	@scripts/needs.sh

.PHONY: build
build: needs ## Build everything in release
	$(CARGO) build --release -j$(JOBS) --workspace --bins

.PHONY: demo
demo: needs ## Run the demo on real programs: register, back up, lose everything, restore, break things
	$(CARGO) build --release -j$(JOBS) --workspace --bin bkv --bin bkv-vault --bin bkv-chatd
	scripts/demo.sh

.PHONY: cluster-demo
cluster-demo: needs ## Run the demo on a real Kubernetes (as root): install the operator, create a vault, use it, lose a region
	$(CARGO) build --release -j$(JOBS) --workspace --bins
	scripts/cluster-demo.sh

.PHONY: images
images: needs ## OCI archives of all images, without Docker (as root); in target/images
	$(CARGO) build --release -j$(JOBS) --workspace --bins
	images/build.sh

.PHONY: images-check
images-check: needs ## Build the images twice and check their contents
	$(CARGO) build --release -j$(JOBS) --workspace --bins
	images/check.sh

.PHONY: kind-up
kind-up: images ## A cluster by kind (needs Docker) with the chart and a vault of three regions
	kind/up.sh

.PHONY: kind-down
kind-down: ## Remove that cluster
	kind/down.sh

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt --all

.PHONY: lint
lint: needs ## Format check, clippy with warnings denied, cargo deny, no test features in programs, commit subjects, shellcheck, links and code blocks of the docs, texts that runbooks quote
	cargo fmt --all --check
	$(CARGO) clippy -j$(JOBS) --workspace --all-targets -- -D warnings
	scripts/deny.sh
	scripts/commits.sh
	python3 scripts/structure.py
	scripts/features.sh
	scripts/shellcheck.sh
	scripts/docs.sh --check

.PHONY: advisories
advisories: ## Known vulnerabilities of the dependencies, and yanked versions. Needs the network: once a day, and before a release
	scripts/deny.sh advisories

.PHONY: docs
docs: needs ## The pages below docs/ as a book with search, in target/book
	scripts/docs.sh

.PHONY: test
test: lint ## What CI runs: lints, unit, property and stack tests, and all on a Kubernetes of its own (as root)
	scripts/test.sh

.PHONY: test-fast
test-fast: lint ## The same without Kubernetes
	scripts/test.sh --fast

.PHONY: test-cluster
test-cluster: needs ## Only what needs a Kubernetes, images, helm or promtool (as root)
	scripts/test.sh --cluster

.PHONY: soak
soak: needs ## A rooted leader's random lies against the rules, for HOURS (1), from a random seed. Prints the seed and the shortened history of what breaks
	scripts/soak.sh $(or $(HOURS),1)

.PHONY: fuzz
fuzz: needs ## Fuzz the handlers by libFuzzer for MINUTES (10) per target; TARGETS="peers relay" for some of them
	MINUTES=$(or $(MINUTES),10) scripts/fuzz.sh $(TARGETS)

.PHONY: chaos
chaos: needs ## Kill, pause, restart and move apart real vaults under load for SECONDS (1800); SEED repeats the faults of another run
	$(CARGO) build -j$(JOBS) --workspace --bins
	BKV_CHAOS_SECONDS=$(or $(SECONDS),1800) $(if $(SEED),BKV_CHAOS_SEED=$(SEED)) $(CARGO) test --workspace --test stack chaos:: -- --nocapture

.PHONY: bench
bench: needs ## Measure. Prints a table and writes target/bench/results.json
	scripts/bench.sh

.PHONY: bench-operator
bench-operator: needs ## The operator with 500 resources: time, memory, requests at rest. Writes target/bench/operator.json
	scripts/bench_operator.sh

.PHONY: golden
golden: needs ## Renew every file that is generated and kept: definition, reference pages, plans, --help, the chart's copies. Make the fixture of a format's new number
	BKV_GOLDEN=write $(CARGO) test -j$(JOBS) --workspace --lib --bins --test generated --test formats -- golden_test help_test is_that_of_the s52_every_released
	charts/check.sh --write

.PHONY: crds
crds: golden ## The same as make golden

.PHONY: chart-check
chart-check: needs ## Lint the chart and compare what it renders. With KUBECONFIG also check it on that cluster
	charts/check.sh

.PHONY: monitoring-check
monitoring-check: needs ## Alerts, their tests and runbooks, the dashboard, and that their metrics exist
	monitoring/check.sh

.PHONY: cluster-build
cluster-build: ## Build a Kubernetes made of processes for the tests (once, about ten minutes)
	@tests/cluster/bin/cluster build

.PHONY: cluster-up
cluster-up: ## Start three nodes in three regions (see tests/cluster/README.md)
	@tests/cluster/bin/cluster up

.PHONY: cluster-down
cluster-down: ## Stop and remove the cluster
	@tests/cluster/bin/cluster down

.PHONY: clean
clean: ## Remove build products of this checkout
	cargo clean
