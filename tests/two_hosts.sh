#!/usr/bin/env bash
# Runs a program on two processes, each on a host of its own that this machine pretends to have: network namespaces with
# an address each, joined by one link. Ends with status 77 where the machine does not allow such a thing.
# usage: two_hosts.sh PROGRAM ARGUMENTS...
set -euo pipefail
first=10.77.$((RANDOM % 250)).1
second=${first%.1}.2
host=fathom-$$- link=fthm$$
agent=$(mktemp)
finish() {
  for address in "$first" "$second"; do ip netns del "$host$address" 2>/dev/null || true; done
  rm -f "$agent"
}
trap finish EXIT

{
  for address in "$first" "$second"; do ip netns add "$host$address"; done
  ip link add "${link}a" netns "$host$first" type veth peer name "${link}b" netns "$host$second"
  ip -n "$host$first" addr add "$first/24" dev "${link}a"
  ip -n "$host$second" addr add "$second/24" dev "${link}b"
  ip -n "$host$first" link set "${link}a" up
  ip -n "$host$second" link set "${link}b" up
  for address in "$first" "$second"; do ip -n "$host$address" link set lo up; done
} >/dev/null 2>&1 || exit 77

# In the place of ssh: options, the host's address, and the command.
cat >"$agent" <<AGENT
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
address=\$1
shift
exec ip netns exec "$host\$address" sh -c "\$*"
AGENT
chmod +x "$agent"
ip netns exec "$host$first" "$(dirname "$0")/mpirun.sh" 2 --map-by node --host "$first,$second" \
  --mca plm_rsh_agent "$agent" "$@"
