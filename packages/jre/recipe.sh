# shellcheck shell=bash disable=SC2034,SC2154
# A Java runtime for the servers and nothing else: bin/java, lib/, conf/, legal/. Linked from this machine's JDK 17.
home=$(jdk_17) || die "no JDK 17 with jmods: scripts/setup installs openjdk-17-jdk-headless, or set JAVA_HOME to one"
versions=("$(sed -n 's/^JAVA_VERSION="\(.*\)"/\1/p' "$home/release")")
licence="GPL-2.0-only WITH Classpath-exception-2.0"
kind=runtime
arch=$(uname -m)
# Two JDKs with one version (another publisher, another build) make different runtimes.
inputs=$(cat "$home/release")

# What jdeps finds in the jars of the packages, and what they reach by name only, which jdeps cannot see.
modules=(
    java.base java.instrument java.logging java.management java.naming java.rmi java.security.jgss java.security.sasl java.sql java.xml
    java.desktop         # java.beans: snakeyaml, commons-digester and reload4j configure objects through it
    java.management.rmi  # JMX over the network
    jdk.attach           # Jolokia's way into a JVM that runs already
    jdk.crypto.ec        # elliptic curves: in 17 a provider of its own, found by name; without it most TLS handshakes fail
    jdk.httpserver       # Jolokia's own server
    jdk.jcmd             # jcmd, jstack: thread dumps and heap histograms on a host without a JDK
    jdk.management       # com.sun.management: open descriptors and real memory among the metrics
    jdk.management.agent # com.sun.management.jmxremote options
    jdk.naming.dns jdk.net
    jdk.security.auth # Krb5LoginModule, named in JAAS configurations
    jdk.security.jgss
    jdk.unsupported # sun.misc.Unsafe: netty, lz4, kafka-clients
    jdk.zipfs
)

build() {
    local list
    list=$(
        IFS=,
        echo "${modules[*]}"
    )
    # jlink makes the folder itself and refuses one that is there.
    rmdir "$1"
    "$home/bin/jlink" --module-path "$home/jmods" --add-modules "$list" --output "$1" \
        --strip-debug --compress=2 --no-header-files --no-man-pages
    [[ $("$1/bin/java" -version 2>&1) == *"\"$version\""* ]] || die "the runtime just linked does not say version $version"
}
