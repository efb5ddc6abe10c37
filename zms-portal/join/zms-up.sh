# shellcheck shell=sh disable=SC2154,SC2086,SC2164 # what is not set here is set in zms-head.sh
# Starts the agent if none runs, and returns. The agent then starts supervisord and with it the instances.
# usage: zms-up
if [ -n "$systemd" ]; then exec systemctl start zms-agent; fi
if [ -n "$(agents)" ]; then
    say "the agent runs already"
    exit 0
fi
if [ "$(id -un)" != "$owner" ]; then
    if command -v runuser >/dev/null 2>&1; then exec runuser -u "$owner" -- env HOME="$prefix" "$0"; fi
    exec su -s /bin/sh "$owner" -c "HOME='$prefix' exec '$0'"
fi
umask 027
cd "$prefix"
setsid "$agent" --prefix "$prefix" run </dev/null >>"$log" 2>&1 &
sleep 1
if ! kill -0 $! 2>/dev/null; then
    tail -n 5 "$log" >&2
    fail "the agent ended at once; its last words stand above and in $log"
fi
say "the agent runs; its log is $log"
