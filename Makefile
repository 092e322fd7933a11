# The commands of CONTRIBUTING.md. Each says what it installs before it does.

CARGO ?= cargo

.PHONY: help tools build demo test lint oracle

help:
	@echo "make demo    three nodes, one film, the leader killed half-way"
	@echo "make test    all tests"
	@echo "make lint    formatting and clippy"
	@echo "make oracle  the long comparison with single ffmpeg passes"

# ffmpeg is the one program that reelraft needs beside itself.
tools:
	@docker/install-tools.sh

build: tools
	$(CARGO) build --release --locked

demo: build
	$(CARGO) build --release --locked --example demo
	target/release/examples/demo

test: tools
	$(CARGO) test --locked --workspace

oracle: tools
	$(CARGO) test --locked -p reelraft-media --test oracle -- --include-ignored --nocapture

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
