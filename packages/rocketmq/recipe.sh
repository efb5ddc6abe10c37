# shellcheck shell=bash disable=SC2034,SC2154
# RocketMQ: libs/*.jar. Main classes org.apache.rocketmq.namesrv.NamesrvStartup, org.apache.rocketmq.broker.BrokerStartup and
# org.apache.rocketmq.tools.command.MQAdminStartup.
#
# A version in the registry's list is no proof that it resolves: 5.5.1 is listed and lacks its client (November 2026).
version=5.5.0
licence="Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND MIT AND EPL-1.0"
kind=service
# The native libraries inside (rocksdb, netty) come for several architectures.
arch=any

build() {
    maven_libs "$1/libs"
    matches_lock "$1/libs"
}
