# shellcheck shell=bash disable=SC2034,SC2154
# Jolokia's JVM agent: jolokia-agent.jar, for -javaagent:. It shows a JVM's MBeans over HTTP.
versions=(2.6.0)
licence=Apache-2.0
kind=tool
arch=any

build() {
    maven_libs "$work/libs"
    matches_lock "$work/libs"
    # Without the version in its name, so that a JVM's options outlive an update.
    mv "$work/libs/jolokia-agent-jvm-$version-javaagent.jar" "$1/jolokia-agent.jar"
}
