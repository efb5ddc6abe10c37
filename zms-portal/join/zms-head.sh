# shellcheck shell=sh disable=SC2034,SC2154,SC2317,SC2013 # process ids are words
# What zms-up and zms-down begin with, behind `set -eu` and the values of prefix and unit that the join script puts before it.
agent=$prefix/bin/zms-agent
log=$prefix/log/zms-agent/out.log

say() { printf 'zms: %s\n' "$*"; }
fail() { printf 'zms: %s\n' "$*" >&2; exit 1; }

# Process ids of this folder's agents: the one that acts, and those that wait for its place.
agents() {
    for file in $(grep -lsF "$agent" /proc/[0-9]*/cmdline); do
        case $(tr '\0' ' ' 2>/dev/null <"$file") in
            "$agent --prefix $prefix run"* | "/bin/sh $agent --prefix $prefix run"*)
                file=${file#/proc/}
                echo "${file%/cmdline}"
                ;;
        esac
    done
}

# The process that holds the lock of instance $1 and so is it: the file says which, its open file says whether it is true.
holder() {
    pid=''
    read -r pid 2>/dev/null <"$prefix/run/locks/$1.lock" || return 0
    case $pid in '' | *[!0-9]*) return 0 ;; esac
    mine=$(stat -L -c %d:%i "$prefix/run/locks/$1.lock")
    if [ "$(stat -L -c %d:%i "/proc/$pid/fd/3" 2>/dev/null)" = "$mine" ]; then echo "$pid"; fi
}

# Names of the instances whose processes live.
running() {
    for file in "$prefix"/run/locks/*.lock; do
        name=${file##*/}
        name=${name%.lock}
        case $name in '*' | agent | zms-agent | supervisord) continue ;; esac
        if [ -n "$(holder "$name")" ]; then echo "$name"; fi
    done
}

# Waits until the processes $2… are gone, at most $1 seconds.
gone() {
    left=$1
    shift
    for pid in "$@"; do
        # A dead child of a parent that does not look has no files any more.
        while [ -d "/proc/$pid" ] && [ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ]; do
            [ "$left" -gt 0 ] || return 1
            left=$((left - 1))
            sleep 1
        done
    done
}

owner=$(stat -c %U "$prefix/log/zms-agent")
if [ "$(id -un)" != "$owner" ] && [ "$(id -u)" -ne 0 ]; then
    fail "$prefix belongs to user $owner; run this as $owner or as root"
fi
systemd=''
if [ "$(id -u)" -eq 0 ] && [ -d /run/systemd/system ] && grep -qsF "$agent " "$unit"; then systemd=yes; fi
