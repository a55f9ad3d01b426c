# shellcheck shell=bash
# What both timings of the set-up share. Source it; `missed` is 1 once a figure was missed.
# shellcheck disable=SC2034  # those that source this end with it
missed=0

# judge WHAT SECONDS LIMIT
judge() {
  local word=pass
  # shellcheck disable=SC2034  # as above
  (($2 <= $3)) || { word=MISS missed=1; }
  printf '%-40s %4d s  (asked: %d s)  %s\n' "$1" "$2" "$3" "$word"
}

# changes LOG: how many things a run of ansible-playbook has changed, on all hosts.
changes() {
  awk -F 'changed=' '/changed=/ { split($2, count, " "); total += count[1] } END { print total + 0 }' "$1"
}
