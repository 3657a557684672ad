# Every task by name. `just` comes with `pip install -e '.[test]'`; the tools are those beside it.

bin := parent_directory(just_executable())
python := bin / "python"
cargo := "cargo --quiet"
# A network of its own, with nothing but loopback: ports that tests use are nobody else's (root)
alone := "unshare --net sh -c 'ip link set lo up && exec \"$0\" \"$@\"'"

# What there is
default:
    @{{ just_executable() }} --list --unsorted

# Build the layer again and put it into the package
build:
    {{ bin }}/pip install --quiet --no-deps --editable .

# Lint, types, import rules, unit tests: seconds
check: lint unit

# Lint and types of Python and Rust, import rules
lint:
    {{ bin }}/ruff check .
    {{ bin }}/ruff format --check .
    {{ bin }}/mypy
    {{ bin }}/lint-imports
    {{ cargo }} fmt --manifest-path native/Cargo.toml --all --check
    {{ cargo }} fmt --manifest-path bench/yardstick/Cargo.toml --check
    {{ cargo }} clippy --manifest-path native/Cargo.toml --workspace --all-targets --release -- --deny warnings
    {{ cargo }} clippy --manifest-path native/Cargo.toml --package inpod-layer --profile layer -- --deny warnings

# Unit tests of Python and Rust, but for slow ones
unit:
    {{ cargo }} test --manifest-path native/Cargo.toml --workspace
    {{ python }} -m pytest tests/unit --quiet -m "not slow"

# The layer in real programs, against a session that the test plays
test-layer:
    {{ python }} -m pytest tests/layer

# Agent, session and demo in network namespaces of this machine (root)
test-netns:
    {{ python }} -m pytest tests/netns

# What the tests need from elsewhere: Debian's packages and more (root); in a moment when nothing is missing
packages:
    {{ python }} -m tests.packages
    {{ python }} -m tests.fetch

# A real Kubernetes on this machine (root); built once, then up in seconds
cluster *arguments="up":
    {{ python }} -m tests.cluster {{ arguments }}

# The user's stories in a real cluster: the one of this machine, or --kubeconfig PATH
test-e2e *arguments: cluster
    {{ python }} -m pytest tests/e2e {{ arguments }}

# Everything, in parts side by side that share its tests: those in a cluster mostly wait, and others compute meanwhile
test: packages
    {{ python }} -m tests.parts test-cluster+test-apart test-apart+test-cluster test-rest+test-cluster+test-apart

# Part of `just test`: tests/e2e in the cluster of this machine, with this machine's ports left to others (root)
test-cluster: cluster
    {{ python }} -m tests.cluster apart {{ python }} -m pytest tests/e2e

# Part of `just test`: tests/netns, with this machine's network left to others
test-apart:
    {{ alone }} {{ python }} -m pytest tests/netns

# Part of `just test`: what needs neither namespaces nor a cluster
test-rest: lint
    {{ cargo }} test --manifest-path native/Cargo.toml --workspace
    {{ alone }} {{ python }} -m pytest tests/unit tests/layer

# Whether the Rust code compiles for aarch64, with Debian's compiler (downloaded once)
aarch64:
    {{ python }} -m tests.aarch64

# The wheel of a release, for glibc 2.31 and later, tried in Debian 11 (root; needs pip install '.[release]')
wheel:
    {{ python }} -m tests.release

# Write the reference pages from the code
docs:
    {{ python }} docs/generate.py

# Speed against the direct way, as a table and JSON
bench *arguments:
    {{ python }} -m bench {{ arguments }}
