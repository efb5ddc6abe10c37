# shellcheck shell=sh disable=SC2154,SC2086 # what is not set here is set in zms-head.sh
# Stops the agent, then supervisord and with it all instances in order, and waits for their ends. Data stays.
# usage: zms-down               everything
#        zms-down --agent-only  services go on
#        zms-down --running     only prints the instances that run
case ${1:-} in
    '' | --agent-only) ;;
    --running)
        running
        exit 0
        ;;
    *) fail "option \"$1\" is unknown; there are --agent-only and --running" ;;
esac

# What is over is over: a process may end by itself between the look and the signal.
end_agents() {
    pids=$(agents)
    [ -n "$pids" ] || return 0
    kill -TERM $pids 2>/dev/null || :
    gone 30 $pids || fail "the agent (process $pids) did not end within 30 s"
}

if [ -n "$systemd" ]; then systemctl stop zms-agent; fi
end_agents
if [ -n "${1:-}" ]; then
    say "the agent is stopped; services go on"
    exit 0
fi
pid=$(holder supervisord)
if [ -n "$pid" ]; then
    say "stopping $(running | tr '\n' ' ')and supervisord; a broker may take minutes"
    kill -TERM "$pid"
    gone 600 "$pid" || fail "supervisord (process $pid) still waits for $(running | tr '\n' ' ')after 10 minutes"
fi
# supervisord keeps the agent as one of its programs, and what outlived an earlier supervisord is nobody's.
end_agents
for name in $(running); do
    pid=$(holder "$name")
    [ -n "$pid" ] || continue
    say "stopping $name, which no supervisord keeps"
    kill -TERM "$pid"
    gone 400 "$pid" || fail "$name (process $pid) did not end within 400 s"
done
say "everything is stopped"
