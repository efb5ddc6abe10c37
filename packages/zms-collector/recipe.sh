# shellcheck shell=bash disable=SC2034,SC2154
# zms-collector: bin/zms-collector, built from this repository. It needs the C library, OpenSSL 3, zlib and zstd of the host.
#
# ZMS_BUILT names a folder with a program that is built already (cargo's target/debug, for tests); without it, it is built for release.
versions=("$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)")
licence=Apache-2.0
kind=service
arch=$(uname -m)
if [[ -n ${ZMS_BUILT:-} ]]; then
    inputs=$(sha256sum <"$ZMS_BUILT/zms-collector")
else
    inputs=$(find zms-core zms-kafka-wire zms-drivers zms-sdk zms-collector Cargo.lock Cargo.toml rust-toolchain.toml -type f ! -path '*/tests/*' -print0 |
        sort -z | xargs -0 sha256sum | sha256sum)
fi

build() {
    local built=${ZMS_BUILT:-}
    if [[ -z $built ]]; then
        cargo build --locked --release --workspace --bins
        built=${CARGO_TARGET_DIR:-target}/release
    fi
    mkdir "$1/bin"
    strip --strip-debug -o "$1/bin/zms-collector" "$built/zms-collector"
    cp LICENSE "$1/LICENSE"
    "$1/bin/zms-collector" --version
}
