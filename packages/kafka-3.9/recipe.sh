# shellcheck shell=bash disable=SC2034,SC2154
# Kafka 3.9, the last line that can run with ZooKeeper: what many companies run today. Laid out as packages/kafka.
package=kafka
version=3.9.2
licence="Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND MIT"
kind=service
arch=any

build() {
    maven_libs "$1/libs"
    matches_lock "$1/libs"
}
