# The front doors of matinee. Each installs what it needs first (tools/setup) and says so.
#   make run      builds, starts the server, publishes the demo and prints the page to open
#   make check    the tests             make lint   every linter
.DEFAULT_GOAL := build
JOBS ?= $(shell nproc)
export JOBS

build: setup-build
	@test -e build/build.ninja || CC=$${CC:-gcc} meson setup build
	@ninja -C build -j $(JOBS) matinee

run: build
	@exec python3 tools/run $(RUN_ARGS)

# Two servers, three workers, MariaDB, Redis, a NATS for each server, and an S3 server, on this machine.
cluster: build setup-check
	@exec python3 tools/cluster

check: setup-check
	@python3 tools/ci.py check

# What waits for long, or needs much that is installed; CI runs it too.
check-long: setup-check setup-long
	@python3 tools/ci.py long

# HDFS and Hadoop Streaming: a real NameNode, DataNode and HttpFS, from Hadoop's own jars of Maven Central.
check-hadoop: setup-hadoop
	@python3 tools/ci.py hadoop

lint: setup-lint
	@python3 tools/ci.py lint

check-asan: setup-check
	@python3 tools/ci.py asan

check-tsan: setup-check
	@python3 tools/ci.py tsan

check-clang: setup-build
	@python3 tools/ci.py clang

# Longer: make fuzz FUZZ_SECONDS=600
fuzz: setup-check
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} python3 tools/ci.py fuzz

# Two minutes of each player that people use, on one live stream: its latency, its stalls, its sound; one only: SOAK_ARGS='--only "Shaka, DASH"'
soak-players: build setup-check
	@exec node tests/soak/players.mjs $(SOAK_ARGS)

# Ten minutes of a live show whose workers are killed; an hour: make soak SOAK_ARGS='--minutes 60'
soak: build setup-check
	@exec python3 tests/soak/ladder.py $(SOAK_ARGS)

# Ten minutes of a live show onto S3 whose server is killed for a minute, twice; matinee once: SOAK_ARGS='--store hdfs', '--crash-while-away'
soak-store: build setup-check
	@exec python3 tests/soak/store.py $(SOAK_ARGS)

# A premiere: 200 clients, 100,000 attempts on 5,000 seats, every locking and database, ten seeds.
soak-booking: build setup-check
	@exec python3 tests/soak/booking.py $(SOAK_ARGS)

bench: build setup-check
	@set -e; for name in http ingest ladder llhls webrtc; do build/matinee bench $$name; done; bench/booking.py; bench/comments.py

# Lays out the C files as make lint wants them.
format: setup-lint
	@git ls-files -z --cached --others --exclude-standard 'src/*.[ch]' 'tests/*.[ch]' | xargs -0 clang-format -i

setup-build setup-check setup-long setup-hadoop setup-lint:
	@tools/setup $(@:setup-%=%)

clean:
	rm -rf build build-asan build-tsan build-clang build-fuzz test-results

# The demo's events and recordings.
clean-data:
	rm -rf data

.PHONY: build run cluster check check-long check-hadoop lint check-asan check-tsan check-clang fuzz soak soak-booking soak-players soak-store bench format setup-build setup-check setup-long setup-hadoop setup-lint \
	clean clean-data
