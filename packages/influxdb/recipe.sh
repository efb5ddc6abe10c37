# shellcheck shell=bash disable=SC2034,SC2154
# InfluxDB 1.6: bin/influxd (needs libc alone) and bin/influx, out of Debian 12's packages, which are neither installed nor started.
versions=(1.6.7)
licence="MIT AND BSD-3-Clause"
kind=service
arch=$(uname -m)

# The release candidate of 1.6.7 that Debian 12 ships, as rebuilt for its security fixes; the hashes are in sources.sha256.
debian_version='1.6.7~rc0-1+b13'

build() {
    local deb
    [[ $arch == x86_64 ]] || die "influxdb is pinned to Debian's build for x86_64; this machine is $arch"
    mkdir "$work/debs"
    cd "$work/debs" || return
    debian_download "influxdb=$debian_version" "influxdb-client=$debian_version"
    matches_lock "$work/debs"
    for deb in *.deb; do dpkg-deb -x "$deb" "$work/files"; done

    mkdir "$1/bin"
    mv "$work/files/usr/bin/influxd" "$work/files/usr/bin/influx" "$1/bin"
    mv "$work/files/usr/share/doc/influxdb/copyright" "$1/LICENSE"
    "$1/bin/influxd" version
}
