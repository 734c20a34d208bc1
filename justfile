# What people do daily. `just` lists it.

_default:
    @just --list

# The example mesh, with its gateway on 127.0.0.1:8080
up *ARGS:
    cargo run --release -- up examples/bookinfo {{ARGS}}

# All tests, or those of some packages: just test -p proxy
test *ARGS:
    cargo xtask test {{ARGS}}

# Formatting and lints, as CI wants them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo xtask tidy

# Format everything
fmt:
    cargo fmt --all

# All that CI does
ci:
    .ci/run

# The documentation of the workspace's crates
doc:
    cargo doc --workspace --no-deps --document-private-items
