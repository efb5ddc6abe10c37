# shellcheck shell=bash disable=SC2034,SC2154
# InfluxDB: bin/influxd. 1.6 comes out of Debian 12's packages, which are neither installed nor started, with bin/influx (needs libc
# alone). 2 is built from its Go modules, without the web interface.
versions=(1.6.7 2.7.12)
kind=service
arch=$(uname -m)
case $version in
    1.*) licence="MIT AND BSD-3-Clause" ;;
    *)
        licence="MIT AND Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND MPL-2.0"
        go_is_new || lacks="InfluxDB 2 (no Go)"
        ;;
esac

# The release candidate of 1.6.7 that Debian 12 ships, as rebuilt for its security fixes; the hashes are in sources.sha256.
debian_version='1.6.7~rc0-1+b13'

build() {
    mkdir "$1/bin"
    case $version in
        1.*) from_debian "$1" ;;
        *) from_go "$1" ;;
    esac
    "$1/bin/influxd" version
}

from_debian() {
    local deb
    [[ $arch == x86_64 ]] || die "influxdb $version is pinned to Debian's build for x86_64; this machine is $arch"
    mkdir "$work/debs"
    cd "$work/debs" || return
    debian_download "influxdb=$debian_version" "influxdb-client=$debian_version"
    matches_lock "$work/debs"
    for deb in *.deb; do dpkg-deb -x "$deb" "$work/files"; done
    mv "$work/files/usr/bin/influxd" "$work/files/usr/bin/influx" "$1/bin"
    mv "$work/files/usr/share/doc/influxdb/copyright" "$1/LICENSE"
}

# Part of it (flux) is Rust, which its own pkg-config compiles; that one still asks the system's.
from_go() {
    local module=github.com/influxdata/influxdb/v2 tools=$work/tools
    mkdir "$tools"
    # Flux denies warnings, which newer compilers have more of; a flag for cargo would miss what runs during the build.
    # shellcheck disable=SC2016 # the script's own words
    printf '%s\n' '#!/bin/sh' 'case "$*" in *--cap-lints*) exec "$@" ;; *) exec "$@" --cap-lints=warn ;; esac' >"$tools/rustc"
    chmod +x "$tools/rustc"

    # Flux looks for what it compiled beside its sources, in the module cache, which therefore must be writable.
    unset CARGO_TARGET_DIR RUSTFLAGS
    export GOPATH=$cache/go GOCACHE=$cache/go/build GOFLAGS="-buildvcs=false -modcacherw -trimpath" GOTOOLCHAIN=local CGO_ENABLED=1
    export RUSTC_WRAPPER=$tools/rustc RUSTUP_TOOLCHAIN
    RUSTUP_TOOLCHAIN=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)

    mkdir "$work/module"
    cp "$pinned/go.mod" "$work/module"
    if [[ -z $locking ]]; then cp "$pinned/go.sum" "$work/module"; fi
    cd "$work/module" || return
    if [[ -n $locking ]]; then
        timeout 30m go mod tidy
        cp go.mod go.sum "$pinned"
    fi
    timeout 10m go build -o "$tools/pkg-config" github.com/influxdata/pkg-config
    export PKG_CONFIG=$tools/pkg-config
    nice timeout 90m go build -p 2 -tags sqlite_foreign_keys,sqlite_json -ldflags "-s -w -X main.version=v$version" \
        -o "$1/bin/influxd" "$module/cmd/influxd"
    cp "$(go list -m -f '{{.Dir}}' "$module")/LICENSE" "$1/LICENSE"
}
