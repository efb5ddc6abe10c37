# shellcheck shell=bash disable=SC2034,SC2154
# RocketMQ 4.9, which many companies run today. Laid out as packages/rocketmq.
#
# 4.9.8 is listed in the registry and lacks its name server and broker (November 2026).
package=rocketmq
version=4.9.7
licence="Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND MIT AND EPL-1.0"
kind=service
arch=any

build() {
    maven_libs "$1/libs"
    matches_lock "$1/libs"
}
