# shellcheck shell=bash disable=SC2034,SC2154
# ZooKeeper: libs/*.jar. Main class org.apache.zookeeper.server.quorum.QuorumPeerMain, alone as in a quorum.
#
# A version in the registry's list is no proof that it resolves: 3.9.6 is listed and lacks its parent pom (November 2026).
versions=(3.9.5)
licence="Apache-2.0 AND BSD-3-Clause AND MIT AND (EPL-1.0 OR LGPL-2.1-only)"
kind=service
# netty's epoll library inside is for x86_64; elsewhere, as by default everywhere, the server uses Java's own sockets.
arch=any

build() {
    maven_libs "$1/libs"
    matches_lock "$1/libs"
}
