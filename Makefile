# The commands of CONTRIBUTING.md. Each says what it installs before it does.

CARGO ?= cargo

# FFMPEG=DIR runs a target with the ffmpeg of a folder, and with its ffprobe if
# it has one. tests/ffmpegs.sh fetches some into target/ffmpegs.
ifdef FFMPEG
export REELRAFT_FFMPEG := $(abspath $(FFMPEG))/ffmpeg
ifneq ($(wildcard $(FFMPEG)/ffprobe),)
export REELRAFT_FFPROBE := $(abspath $(FFMPEG))/ffprobe
endif
endif

.PHONY: help tools build deb test-deb test-packaging demo test test-newest test-cluster test-all test-openapi test-web lint oracle storm failover

help:
	@echo "make demo    three nodes, one film, the leader killed half-way"
	@echo "make deb     a Debian package; make test-deb tries it on a bare Debian"
	@echo "make test    every promise, in minutes"
	@echo "make test-newest  media tests with the newest ffmpeg that was tried"
	@echo "make test-all  the long tests that make test leaves out"
	@echo "make test-openapi  the HTTP port against its own description, by schemathesis"
	@echo "make test-web  the page in a browser, over a cluster whose leader is killed"
	@echo "make lint    formatting and clippy"
	@echo "make test-cluster  the leader killed, with the ffmpeg of FFMPEG=DIR"
	@echo "make oracle  the long comparison with single ffmpeg passes"
	@echo "make storm   100,000 storms over the model, each from its seed"
	@echo "make failover  nodes killed and stopped, networks and power cut: takes hours, and the machine to itself"

# ffmpeg is the one program that reelraft needs beside itself.
tools:
	@docker/install-tools.sh

build: tools
	$(CARGO) build --release --locked

# Manual pages and completions are the program's own.
package := target/package
deb: build
	@command -v cargo-deb >/dev/null || { \
		echo "there is no cargo-deb here: cargo install cargo-deb"; exit 1; }
	rm -rf $(package) && mkdir -p $(package)/man
	target/release/reelraft man $(package)/man
	for shell in bash zsh fish; do \
		target/release/reelraft completions $$shell >$(package)/reelraft.$$shell || exit 1; done
	cargo-deb --no-build --output $(package)/

# The package on a bare Debian 12, made with debootstrap: as root, some minutes.
test-deb: deb
	tests/deb.sh $(package)/*.deb || [ $$? = 77 ]

# What ships beside the program.
test-packaging: tools
	$(CARGO) build --locked
	tests/packaging.sh target/debug/reelraft

demo: build
	$(CARGO) build --release --locked --example demo
	target/release/examples/demo

test: tools
	$(CARGO) test --locked --workspace

# The media tests that depend most on ffmpeg, with the newest that was tried.
newest := target/ffmpegs/9.0
test-newest: tools
	@if [ -x $(newest)/ffmpeg ] && [ -x $(newest)/ffprobe ]; then \
		REELRAFT_FFMPEG=$(abspath $(newest)/ffmpeg) REELRAFT_FFPROBE=$(abspath $(newest)/ffprobe) \
		$(CARGO) test --locked --workspace --test media -- oracle::; \
	else echo "skipped: no $(newest); tests/ffmpegs.sh fetches it"; fi

# A cluster whose leader is killed gives the same bytes, with FFMPEG=DIR.
test-cluster: tools
	$(CARGO) test --locked --workspace --test cluster the_same_bytes_with_the_leader

# More combinations, larger clusters, the short form of most experiments. What
# tries every real file, or waits for minutes, is left to `make oracle`, and most
# storms and the thousand nodes of the scheduler to `make storm`; the short forms of
# `big_table`, `engines`, `grow_and_shrink`, `rolling_reboot`, `rolling_upgrade` and `slow_disk` take one
# to two minutes each; the long ones are in `make failover`.
test-all: tools
	$(CARGO) test --locked --workspace -- --ignored --skip table:: --skip every_file_is_cut --skip every_storm_of_many --skip a_thousand_nodes --skip that_hangs \
		--skip a_table_of_many --skip engines_behind --skip a_cluster_grows --skip the_machine_is_busy --skip http_takes_a_large_file \
		--skip disks_stall --skip nodes_get_another --skip one_node_after

# Ten minutes of requests made from the OpenAPI document; skipped where
# schemathesis can't be had.
test-openapi: build
	tests/openapi.sh target/release/reelraft || [ $$? = 77 ]

# The page in Debian's Chromium; skipped where no browser can be had. With
# SCREENSHOTS=DIR it also makes a picture of each view. The program is that of
# `make test`: another build would have other features.
test-web: tools
	$(CARGO) test --locked --workspace --no-run
	tests/web.sh target/debug/reelraft $(if $(SCREENSHOTS),--screenshots $(SCREENSHOTS)) || [ $$? = 77 ]

# With FFMPEG=DIR (/usr/bin for the system's), the table alone: what becomes of
# every file, and of which files something else came with the versions before.
# Tables are kept in target/oracle; ONLY=WORD takes the files with that word in
# their names, RESUME=1 those that a run that was stopped had not come to.
oracle: tools
ifdef FFMPEG
	$(CARGO) test --locked -p reelraft-media --test media -- --include-ignored --nocapture table::
else
	$(CARGO) test --locked -p reelraft-media --lib --test media -- --include-ignored --nocapture
endif

# A storm that fails prints its steps and its seed; STORM_SEED=N plays it again.
storm:
	$(CARGO) test --locked --release -p reelraft-model --test storm --test scheduler -- --include-ignored --nocapture

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# The figures of docs/failover.md. Each experiment prints its seed, and a broken
# promise ends this. What the machine lacks for one (root, iproute2, iptables,
# faketime, strace) is printed, and that one is skipped.
failover: build
	$(CARGO) build --release --locked -p reelraft-failover
	target/release/kill_the_leader --calm-minutes 30
	target/release/kill_the_leader --kills 200
	target/release/kill_anything --jobs 100
	target/release/freeze --rounds 20
	target/release/partition --rounds 20
	target/release/power_cut --cuts 200
	target/release/kill_points --points 200
	target/release/rot --tries 500
	target/release/slow_disk --rounds 20
	target/release/busy_machine
	target/release/busy_machine --as-user 65534
	target/release/broken_files --files 1000
	target/release/big_table
	target/release/rolling_reboot --rounds 20
	target/release/rolling_reboot --rounds 20 --lost-disks 1
	target/release/rolling_reboot --rounds 20 --nodes 5
	target/release/rolling_reboot --rounds 20 --nodes 5 --lost-disks 1
	target/release/grow_and_shrink
	target/release/membership_storm --sequences 200
	target/release/engines
	target/release/bucket
	target/release/hostile_clients
	target/release/rolling_upgrade --rounds 10
