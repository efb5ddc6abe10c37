# shellcheck shell=bash disable=SC2034,SC2154
# Kafka: libs/*.jar. Main classes kafka.Kafka and kafka.tools.StorageTool, tools in org.apache.kafka.tools.
#
# A version in the registry's list is no proof that it resolves: 4.4.0 is listed and lacks kafka-tools-api (November 2026).
# 3.9 is the last line that can run with ZooKeeper: what many companies run today.
versions=(4.3.1 3.9.2)
licence="Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND MIT"
kind=service
# The native compression libraries inside (zstd, lz4, snappy) come for every architecture Java runs on.
arch=any

build() {
    maven_libs "$1/libs"
    matches_lock "$1/libs"
}
