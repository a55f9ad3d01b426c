# shellcheck shell=bash
# Where things are, as faults.sh asks for them: containers and pods of this node are named as the logs of containers.

# The id that a container has now: the kubelet makes another log for each.
id_of() {
  # shellcheck disable=SC2012 # the newest, of names without anything to quote
  ls -t /var/log/containers/"$1"-*.log 2>/dev/null | sed -n '1s/.*-\([0-9a-f]*\)\.log$/\1/p'
}

process_of() {
  local container
  for container in "$@"; do first_process_of "$container"; done
}

first_process_of() {
  local id group process
  id=$(id_of "$1") && [ -n "$id" ] || return
  while read -r group; do
    process=${group//[!0-9]/}
    if [ "$(awk '/^NSpid:/ { print $NF }' "/proc/$process/status" 2>/dev/null)" = 1 ]; then
      echo "$process"
      return
    fi
  done < <(grep --files-with-matches --no-messages --fixed-strings "$id" /proc/[0-9]*/cgroup)
}

main_process_of() {
  process_of "$1"
}

# containerd keeps it in a file for as long as there is the pod. Which one it is, is to be seen while the container runs.
network_of() {
  local process network kept=$STATE/network-$1
  process=$(process_of "$1")
  for network in /run/netns/cni-*; do
    if [ "$network" -ef "/proc/$process/ns/net" ]; then
      if [ -d "$STATE" ]; then echo "$network" >"$kept"; fi
      echo "$network"
      return
    fi
  done
  cat "$kept" 2>/dev/null
}

# Those that the API server has told, before the fault.
addresses_of() {
  echo "$ADDRESSES"
}
