#!/bin/sh
# Makes this host one of a ZMS portal's: looks whether it fits, fetches the agent, asks the portal with the token that comes on
# standard input, starts the agent. Run again it repairs, and brings the agent to the portal's version.
#
# usage: printf '%s\n' TOKEN | sh join.sh [--prefix DIR] [--user] [--no-start]
#        sh join.sh --uninstall [--prefix DIR] [--user]
#   --prefix DIR  the folder of ZMS; by default /opt/zms, with --user ~/.zms
#   --user        everything belongs to whoever runs this; root rights are neither needed nor used
#   --no-start    leaves the agent unstarted, now and at boot
#   --uninstall   removes everything but data, logs and trash; refuses while an instance runs
#
# exit status: 0 done · 2 wrong call · 3 the portal did not take this host · 4 not the agent that the portal promised ·
#   5 the agent cannot be fetched · 6 this host does not fit · 7 another join runs · 8 the agent did not start · 1 anything else
#
# The portal puts its own values between the @ signs; the join line then pins these very bytes by their hash. Nothing happens
# before the last line, so half a script does nothing.
set -eu
umask 022

portal='@URL@'
# Since when the portal's authority exists, in seconds since 1970.
born='@BORN@'
# Architecture, version, SHA-512 and size of each agent, one a line.
agents='@AGENTS@'
# Free space that a first installation needs, in KiB.
space=524288

say() { printf 'zms: %s\n' "$*"; }
fail() {
    status=$1
    shift
    printf 'zms: %s\n' "$*" >&2
    exit "$status"
}
has() { command -v "$1" >/dev/null 2>&1; }

main() {
    prefix='' user=zms start=yes action=join
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix)
                [ $# -ge 2 ] || fail 2 "--prefix needs a folder"
                prefix=$2
                shift
                ;;
            --user) user='' ;;
            --no-start) start='' ;;
            --uninstall) action=uninstall ;;
            *) fail 2 "option \"$1\" is unknown; there are --prefix DIR, --user, --no-start and --uninstall" ;;
        esac
        shift
    done
    if [ -n "$user" ] && [ "$(id -u)" -ne 0 ]; then
        fail 2 "this needs root rights; with --user everything goes into a folder of your own"
    fi
    [ -n "$prefix" ] || if [ -n "$user" ]; then prefix=/opt/zms; else prefix=${HOME:?}/.zms; fi
    check_prefix
    scratch=$prefix/.join
    unit=/etc/systemd/system/zms-agent.service
    if [ "$action" = uninstall ]; then
        uninstall
        return
    fi

    token=''
    if [ ! -t 0 ]; then IFS= read -r token || :; fi
    case $token in
        zmsj1.*.*) ;;
        *) fail 2 "no token came on standard input; run the whole line that the portal shows under Hosts" ;;
    esac
    check_host
    make_folders
    lock
    write_authority
    fetch_agent
    write_helpers
    ask_portal
    if [ -n "$start" ]; then start_agent; fi
    rm -rf "$scratch"
    say "this host belongs to $portal now; what it does: $prefix/bin/zms-agent --prefix $prefix status"
}

# The same rule as the agent's: supervisord's configuration takes nothing else, and a socket's path has an end.
check_prefix() {
    case $prefix in
        *[!A-Za-z0-9/_.-]* | */../* | */.. | //*) bad=yes ;;
        /?*) bad='' ;;
        *) bad=yes ;;
    esac
    [ -z "$bad" ] || fail 2 "prefix \"$prefix\": must be an absolute path of letters, digits and / _ . -"
    prefix=${prefix%/}
    [ ${#prefix} -le 78 ] || fail 2 "prefix $prefix: has ${#prefix} characters, more than the 78 that leave room for a socket; choose a shorter one"
}

check_host() {
    [ "$(uname -s)" = Linux ] || fail 6 "this is $(uname -s); ZMS runs on Linux"
    arch=$(uname -m)
    row=$(printf '%s\n' "$agents" | sed -n "s/^$arch //p")
    if [ -z "$row" ]; then
        fail 6 "this host is $arch; the portal has an agent for $(printf '%s\n' "$agents" | sed 's/ .*//' | tr '\n' ' ')only"
    fi
    # shellcheck disable=SC2086
    set -- $row
    version=$1 sha512=$2 size=$3
    for tool in sha512sum df sed tr wc grep stat readlink mktemp; do
        has "$tool" || fail 6 "$tool is not on this host; install the package that has it (coreutils, sed, grep)"
    done
    has curl || has wget || fail 6 "neither curl nor wget is on this host; install one of them"
    [ -n "$user" ] && [ -d /run/systemd/system ] || has setsid || fail 6 "setsid is not on this host; install util-linux"
    now=$(date +%s)
    if [ "$now" -lt "$born" ]; then
        fail 6 "the clock says $(date -u '+%Y-%m-%d %H:%M UTC'), before the portal's certificates were made; set it right"
    fi
    folder=$prefix
    until [ -d "$folder" ]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p')
    if [ -n "$free" ] && [ "$free" -lt "$space" ] && [ ! -e "$prefix/bin/zms-agent" ]; then
        fail 6 "$folder has $((free / 1024)) MiB free; at least $((space / 1024)) MiB are needed"
    fi
    has python3 || say "python3 is not on this host; joining works without it, running services does not"
}

# With root rights: the folders that programs come from are root's, the others are the agent's. So what the agent's user can
# write is never what root follows or runs.
make_folders() {
    if [ -z "$user" ]; then
        mkdir -p "$prefix" || fail 6 "the folder $prefix cannot be made; choose another one with --prefix"
        mkdir -p "$scratch" "$prefix/bin" "$prefix/releases" "$prefix/log/zms-agent"
        [ -O "$prefix" ] || fail 6 "the folder $prefix belongs to somebody else; choose another one with --prefix"
        return 0
    fi
    if ! id -u "$user" >/dev/null 2>&1; then
        if has useradd; then
            useradd --system --user-group --no-create-home --home-dir "$prefix" --shell /sbin/nologin "$user"
        elif has adduser && has addgroup; then
            addgroup -S "$user" && adduser -S -D -H -h "$prefix" -s /sbin/nologin -G "$user" "$user"
        else
            fail 6 "user $user: there is neither useradd nor adduser to make it with; make it, then run this again"
        fi
    fi
    mkdir -p "$prefix"
    # An empty one is of a run that ended here, before the folder got its owner.
    if [ -n "$(ls -A "$prefix/state" 2>/dev/null)" ] && [ "$(stat -c %U "$prefix/state")" != "$user" ]; then
        fail 6 "$prefix is an installation of user $(stat -c %U "$prefix/state"); repair it with --user, or choose another --prefix"
    fi
    for folder in .join bin releases cas conf data log pki run state trash; do
        [ ! -L "$prefix/$folder" ] || fail 6 "$prefix/$folder is a symbolic link; put a folder in its place"
    done
    chown root:root "$prefix"
    chmod 755 "$prefix"
    for folder in .join bin; do
        mkdir -p "$prefix/$folder"
        chown root:root "$prefix/$folder"
        chmod 755 "$prefix/$folder"
    done
    # The agent unpacks here beside its own program, which the sticky bit keeps.
    mkdir -p "$prefix/releases"
    chown "root:$user" "$prefix/releases"
    chmod 1775 "$prefix/releases"
    for folder in cas conf data log pki run state trash; do
        mkdir -p "$prefix/$folder"
        chown -h "$user:$user" "$prefix/$folder"
        chmod 750 "$prefix/$folder"
    done
    as_user mkdir -p "$prefix/log/zms-agent"
}

as_user() {
    if [ -z "$user" ]; then
        "$@"
    elif has runuser; then
        runuser -u "$user" -- env HOME="$prefix" "$@"
    else
        # shellcheck disable=SC2016
        su -s /bin/sh "$user" -c 'exec "$@"' sh env HOME="$prefix" "$@"
    fi
}

# A link whose target says who made it comes into being at once, so there is no lock without an owner. One from before the
# last boot is nobody's.
lock() {
    mine=$$@$(cat /proc/sys/kernel/random/boot_id)
    if ! ln -sn "$mine" "$prefix/.join.lock" 2>/dev/null; then
        held=$(readlink "$prefix/.join.lock") || held=''
        if [ "${held#*@}" = "${mine#*@}" ] && [ -d "/proc/${held%%@*}" ]; then
            fail 7 "another join works on $prefix (process ${held%%@*}); wait for its end"
        fi
        rm -f "$prefix/.join.lock"
        ln -sn "$mine" "$prefix/.join.lock" 2>/dev/null || fail 7 "another join works on $prefix; wait for its end"
    fi
    trap 'rm -f "$prefix/.join.lock"' EXIT
    trap 'exit 1' HUP INT TERM
}

write_authority() {
    cat >"$scratch/ca.pem" <<'PEM'
@AUTHORITY@
PEM
}

matches() { [ -f "$1" ] && [ "$(sha512sum <"$1" | cut -d ' ' -f 1)" = "$sha512" ]; }

fetch_agent() {
    release=$prefix/releases/agent-$version
    agent=$release/zms-agent
    if [ -L "$release" ] || { [ -e "$release" ] && [ ! -O "$release" ]; }; then
        fail 6 "$release was not made by this script; remove it and run this again"
    fi
    if ! matches "$agent"; then
        part=$scratch/agent-$(printf %.16s "$sha512")
        download "$part"
        chmod 755 "$part"
        mkdir -p "$release"
        agent_changes
        mv -f "$part" "$agent"
        if [ -n "$user" ] && has restorecon; then restorecon -R "$release" || :; fi
        say "fetched the agent, version $version"
    fi
    if [ "$(readlink "$prefix/bin/zms-agent" || :)" != "../releases/agent-$version/zms-agent" ]; then
        agent_changes
        rm -f "$prefix/bin/.zms-agent"
        ln -s "../releases/agent-$version/zms-agent" "$prefix/bin/.zms-agent"
        mv -f "$prefix/bin/.zms-agent" "$prefix/bin/zms-agent"
    fi
}

# In a file, because a run may end before the agent of before has: the next one sees no change and has to end it all the same.
agent_changes() { : >"$scratch/changed"; }

# Whatever comes is used only with the right hash, so a part of an earlier run is gone on with.
download() {
    tries=0
    until matches "$1"; do
        if [ "$(wc -c 2>/dev/null <"$1" || echo 0)" -ge "$size" ]; then
            rm -f "$1"
            fail 4 "what came is not the agent that the portal promised (another SHA-512); it is deleted. Does a proxy change what passes?"
        fi
        tries=$((tries + 1))
        if [ "$tries" -gt 5 ]; then
            fail 5 "the agent cannot be fetched from $portal. If the portal answers, its agent may be a newer one by now: take a new join line"
        fi
        [ "$tries" -eq 1 ] || sleep 1
        get "$portal/j/agent/$sha512" "$1" || :
    done
}

get() {
    if has curl; then
        curl -fsS --proto '=https' --cacert "$scratch/ca.pem" --connect-timeout 10 --speed-limit 1000 --speed-time 30 \
            --max-filesize "$size" -C - -o "$2" "$1"
    elif wget --help 2>&1 | grep -q -e --ca-certificate; then
        wget -q -c -t 1 -T 30 --ca-certificate="$scratch/ca.pem" -O "$2" "$1"
    else
        # A small wget cannot check certificates; the hash decides in any case.
        wget -q -c -T 30 --no-check-certificate -O "$2" "$1"
    fi
}

ask_portal() {
    status=0
    printf '%s\n' "$token" | as_user "$prefix/bin/zms-agent" --prefix "$prefix" join --url "$portal" --ca "$scratch/ca.pem" || status=$?
    case $status in
        0) ;;
        3) fail 3 "the portal did not take this host; a join line is good for a while and for so many hosts, take a new one" ;;
        *) fail 1 "this host did not join; the sentence above says why. Running the same line again costs nothing" ;;
    esac
}

# zms-up and zms-down, for hosts without systemd and for people.
write_helpers() {
    { helper_head && up_body; } >"$scratch/zms-up"
    { helper_head && down_body; } >"$scratch/zms-down"
    for helper in zms-up zms-down; do
        chmod 755 "$scratch/$helper"
        mv -f "$scratch/$helper" "$prefix/bin/$helper"
    done
}

helper_head() {
    printf "#!/bin/sh\n# Made by the join script, which makes it anew when it is run again.\nset -eu\nprefix='%s'\nunit='%s'\n" "$prefix" "$unit"
    cat <<'HEAD'
@ZMS_HEAD@
HEAD
}

up_body() {
    cat <<'UP'
@ZMS_UP@
UP
}

down_body() {
    cat <<'DOWN'
@ZMS_DOWN@
DOWN
}

start_agent() {
    if [ -n "$user" ] && [ -d /run/systemd/system ]; then
        cat >"$scratch/unit" <<UNIT
# Made by the ZMS join script, which makes it anew when it is run again.
[Unit]
Description=ZMS agent
Wants=network-online.target
After=network-online.target

[Service]
User=$user
ExecStart=$prefix/bin/zms-agent --prefix $prefix run
Restart=always
RestartSec=2
# Services outlive their agent.
KillMode=process
LimitNOFILE=1048576
UMask=0027
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
UNIT
        mv -f "$scratch/unit" "$unit"
        systemctl daemon-reload
        systemctl enable --quiet zms-agent || fail 8 "systemd does not take the unit zms-agent; look at $unit"
        systemctl restart zms-agent || fail 8 "systemd could not start the agent; look at: journalctl -u zms-agent"
        say "the agent runs as unit zms-agent, user $user"
        return 0
    fi
    if [ -e "$scratch/changed" ]; then "$prefix/bin/zms-down" --agent-only >/dev/null || fail 8 "the agent of before did not end"; fi
    "$prefix/bin/zms-up" || fail 8 "the agent did not start"
    if ! has crontab; then
        say "neither systemd nor crontab starts the agent when this host boots; have $prefix/bin/zms-up run then"
    elif ! crontab -l 2>/dev/null | grep -qF "$prefix/bin/zms-up"; then
        { crontab -l 2>/dev/null || :; echo "@reboot $prefix/bin/zms-up"; } | crontab - ||
            say "crontab did not take the line that starts the agent at boot; have $prefix/bin/zms-up run then"
    fi
}

uninstall() {
    [ -x "$prefix/bin/zms-down" ] || fail 6 "$prefix: nothing is installed there; say where with --prefix"
    lock
    left=$("$prefix/bin/zms-down" --running | tr '\n' ' ')
    [ -z "$left" ] || fail 6 "these still run: ${left}- stop them in the portal or with $prefix/bin/zms-down, then run this again"
    "$prefix/bin/zms-down" || fail 1 "not everything could be stopped; nothing was removed"
    if [ -n "$user" ] && grep -qsF "$prefix/bin/zms-agent " "$unit"; then
        systemctl disable --quiet zms-agent || :
        rm -f "$unit"
        systemctl daemon-reload || :
    fi
    if has crontab && crontab -l 2>/dev/null | grep -qF "$prefix/bin/zms-up"; then
        { crontab -l | grep -vF "$prefix/bin/zms-up" || :; } | crontab -
    fi
    # Last what an uninstalling that was ended begins with.
    for folder in releases cas conf run pki state .join bin; do rm -rf "${prefix:?}/$folder"; done
    say "ZMS is removed; data, logs and trash are still in $prefix. Take the host out of service on its page in the portal"
}

{ main "$@"; }
