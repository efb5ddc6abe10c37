# shellcheck shell=bash
# What the scripts share. Source it: . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Where rustup keeps cargo: a shell that is older than it does not know.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# Ends the script with a sentence on stderr.
die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Prints the usage of script $1: its first comment, after the shebang.
usage() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"; }

# The folder of a JDK 17 that can make a JRE: JAVA_HOME, the JDK of the jlink on PATH, or Debian's. Returns 1 when there is none.
# A JDK without jmods (some distributions leave them out) has a jlink that can link nothing.
jdk_17() {
    local home on_path
    on_path=$(readlink -f "$(command -v jlink)" 2>/dev/null) || on_path=""
    for home in "${JAVA_HOME:-}" "${on_path%/bin/jlink}" /usr/lib/jvm/java-17-openjdk-*; do
        if [[ -x $home/bin/jlink && -e $home/jmods/java.base.jmod ]] && grep -q '^JAVA_VERSION="17[."]' "$home/release"; then
            printf '%s\n' "$home"
            return 0
        fi
    done
    return 1
}

# Is there a Go that knows `tool` lines in a go.mod (1.24)?
go_is_new() {
    local said
    said=$(go env GOVERSION 2>/dev/null) || return
    [[ $said =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 24))
}
