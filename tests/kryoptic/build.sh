#!/bin/sh
# Builds Kryoptic as a PKCS#11 module for tests and prints the path of the .so, nothing else, on stdout.
# The target folder lies outside the checkout and is keyed by the lock file, so it is built once per version.
# Needs a C compiler, pkg-config, libssl-dev and libclang-dev (bindings are made at build time). Exit 3: something to install is missing (named on stderr).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# All inputs of the .so. A change of any of them gives another build folder.
key=$(cat "$here/Cargo.lock" "$here/Cargo.toml" "$here/src/lib.rs" | sha256sum | cut -c1-16)
target="${BKV_CACHE:-$HOME/.cache/bkv}/kryoptic/$key"
so="$target/libbkv_kryoptic_pkcs11.so"

if [ ! -f "$so" ]; then
    for tool in cargo pkg-config cc; do
        command -v "$tool" >/dev/null || { echo "kryoptic: '$tool' is not installed" >&2; exit 3; }
    done
    pkg-config --exists libcrypto || { echo "kryoptic: install libssl-dev (apt-get install libssl-dev)" >&2; exit 3; }
    if [ -z "${LIBCLANG_PATH:-}" ] && ! ldconfig -p | grep -q 'libclang[-.0-9]*\.so' \
        && ! ls /usr/lib/llvm-*/lib/libclang.so* >/dev/null 2>&1; then
        echo "kryoptic: install libclang-dev (apt-get install libclang-dev)" >&2
        exit 3
    fi
    mkdir -p "$target"
    # A second caller waits for the first one and then finds the file. An outer cargo's variables would
    # change flags or the target folder, and with them the key's meaning.
    (
        flock 9
        if [ ! -f "$so" ]; then
            unset CARGO_TARGET_DIR RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
            cargo build --quiet --locked --release --jobs "${BKV_JOBS:-2}" \
                --manifest-path "$here/Cargo.toml" --target-dir "$target/target" >&2
            # Renamed at the end, so that an interrupted build leaves no partial module under the final name.
            cp "$target/target/release/libbkv_kryoptic_pkcs11.so" "$so.new"
            mv "$so.new" "$so"
            rm -rf "$target/target"
        fi
    ) 9>"$target/lock"
fi
echo "$so"
