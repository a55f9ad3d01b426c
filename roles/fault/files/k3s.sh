# shellcheck shell=bash
# Where things are, as faults.sh asks for them: containers and pods of this node are named by the id of a container.

process_of() {
  local group process
  while read -r group; do
    process=${group//[!0-9]/}
    if [ "$(awk '/^NSpid:/ { print $NF }' "/proc/$process/status" 2>/dev/null)" = 1 ]; then
      echo "$process"
      return
    fi
  done < <(grep --files-with-matches --no-messages --fixed-strings "$1" /proc/[0-9]*/cgroup)
}

main_process_of() {
  process_of "$1"
}

network_of() {
  process_of "$1"
}

# Those that the API server has told, before the fault.
addresses_of() {
  echo "$ADDRESSES"
}
