#!/usr/bin/env bash
# Runs a program on processes of several hosts that this machine pretends to have, as many on each: network namespaces
# with an address each on one switch, a name each, and shared memory each. Ends with status 77 where the machine does
# not allow such a thing.
# usage: hosts.sh [--rate MBIT] HOSTS PROCESSES_PER_HOST PROGRAM ARGUMENTS...
# --rate: what a host can send in a second
set -euo pipefail
rate=
if [ "$1" = --rate ]; then
  rate=$2
  shift 2
fi
hosts=$1
each=$2
shift 2
network=10.77.$((RANDOM % 250))
name=fathom-$$
agent=$(mktemp)
finish() {
  for i in $(seq 0 "$hosts"); do ip netns del "$name-$i" 2>/dev/null || true; done
  rm -f "$agent"
}
trap finish EXIT

addresses=()
{
  ip netns add "$name-0" # the switch
  ip -n "$name-0" link add switch type bridge
  ip -n "$name-0" link set switch up
  for i in $(seq "$hosts"); do
    ip netns add "$name-$i"
    ip link add network netns "$name-$i" type veth peer name "port$i" netns "$name-0"
    ip -n "$name-0" link set "port$i" master switch
    ip -n "$name-0" link set "port$i" up
    ip -n "$name-$i" addr add "$network.$i/24" dev network
    ip -n "$name-$i" link set network up
    ip -n "$name-$i" link set lo up
    if [ -n "$rate" ]; then
      tc -n "$name-$i" qdisc add dev network root tbf rate "${rate}mbit" burst 128kb latency 2s
    fi
    addresses+=("$network.$i")
  done
  # Whatever failed before shows in the last host.
  ip netns exec "$name-$hosts" unshare --mount --uts ip -4 addr show dev network | grep -qF "$network.$hosts/" &&
    { [ -z "$rate" ] || tc -n "$name-$hosts" qdisc show dev network | grep -qF tbf; }
} >/dev/null 2>&1 || exit 77

# In the place of ssh: options, the host's address, and the command. Open MPI tells shared memory of one host from that
# of another by the host's name.
cat >"$agent" <<AGENT
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
host=$name-\${1##*.}
shift
exec ip netns exec "\$host" unshare --mount --uts sh -c "hostname \$host; mount -t tmpfs none /dev/shm; \$*"
AGENT
chmod +x "$agent"
slots=$(printf "%s:$each," "${addresses[@]}")
"$agent" "$network.1" "$(printf '%q ' "$(dirname "$0")/mpirun.sh" $((hosts * each)) --map-by slot --host "${slots%,}" \
  --mca plm_rsh_agent "$agent" "$@")"
