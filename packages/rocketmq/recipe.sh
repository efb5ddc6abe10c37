# shellcheck shell=bash disable=SC2034,SC2154
# RocketMQ: libs/*.jar. Main classes org.apache.rocketmq.namesrv.NamesrvStartup, org.apache.rocketmq.broker.BrokerStartup and, for a
# person, org.apache.rocketmq.tools.command.MQAdminStartup.
#
# A version in the registry's list is no proof that it resolves: 5.5.1 and 5.3.4 are listed and lack half of their jars, 4.9.8 lacks
# name server and broker (November 2026). Never a range.
versions=(5.5.0 4.9.7)
licence="Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND MIT AND (EPL-1.0 OR LGPL-2.1-only)"
kind=service
# The native libraries inside (rocksdb, zstd, netty) come for every architecture Java runs on here.
arch=any

build() {
    maven_libs "$1/libs"
    matches_lock "$1/libs"
}
