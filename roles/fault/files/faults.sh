# shellcheck shell=bash
# What the commands of group_vars/all/faults.yml do things with. Where they are is found by the functions of pods.sh or
# k3s.sh:
#
#   process_of CONTAINER...  the first process of each; nothing of one that does not run
#   main_process_of POD      that of the container that is called as the pod
#   network_of POD           the file of the pod's network namespace, whether its containers run or not
#   addresses_of WORKLOAD    the addresses at which others reach it, with commas between them
#
# On a host that is busy each call of Podman takes seconds, and a probe has few of them: one call is to do.

# All processes of a container.
processes_of() {
  pgrep --ns "$(process_of "$1")" --nslist pid .
}

# Says which processes the first ones of containers are.
name_processes() {
  local processes
  processes=$(process_of "$@" | xargs)
  echo "${processes:+process }${processes:-no process}"
}

# Runs a command in the network of a pod, with the programs of this host.
in_network_of() {
  local network
  network=$(network_of "$1")
  if [ ! -e "$network" ]; then
    echo "the pod is gone" >&2
    return 1
  fi
  nsenter --net="$network" -- "${@:2}"
}

# Adds a rule for what a pod sends, in a table of this fault's own.
filter_packets() {
  in_network_of "$1" nft "add table inet $FAULT; add chain inet $FAULT sent { type filter hook output priority 0; }; \
    add rule inet $FAULT sent $2"
}

stop_filtering() {
  in_network_of "$1" nft "delete table inet $FAULT"
}

# The connections of a pod to a port elsewhere; with --kill, these are ended.
connections() {
  in_network_of "$1" ss --no-header --tcp "${@:3}" state established dport = ":$2"
}

# Connects to a port of the first of some addresses as a pod does, and says how that went.
connect() {
  local network
  network=$(network_of "$1")
  if [ -e "$network" ]; then connect_by "nsenter --net=$network --" "${2%%,*}" "$3"; else echo "the pod is gone"; fi
}

# Connects to a port with the help of another command, if there is one.
connect_by() {
  local began=$EPOCHREALTIME
  # shellcheck disable=SC2086 # the words of the command
  if $1 timeout 2 bash -c ": < /dev/tcp/$2/$3" 2>/dev/null; then
    echo connected
  elif ((${EPOCHREALTIME/./} - ${began/./} < 1900000)); then
    echo refused
  else
    echo "no answer within 2 s"
  fi
}

# Whether the kernel can delay packets; says why not.
can_delay_packets() {
  if ! in_network_of "$1" sh -c 'tc qdisc add dev lo root netem delay 1ms && tc qdisc del dev lo root' 2>/dev/null; then
    echo "the kernel of this host has no sch_netem"
    return 1
  fi
}

# How long a packet takes from a pod to the gateway of its network and back.
round_trip() {
  local milliseconds
  # shellcheck disable=SC2016 # for the shell there
  milliseconds=$(in_network_of "$1" sh -c 'ping -c 1 -W 2 "$(ip route show default | cut -d " " -f 3)"' |
    sed -n 's/.*time=\([0-9]*\).*/\1/p')
  if ((${milliseconds:-2000} >= 150)); then echo "slow: ${milliseconds:-over 2000} ms"; else echo fast; fi
}

# Runs a command where a process is, with the programs that are there.
inside() {
  nsenter --net --mount --target "$1" -- "${@:2}"
}

# Whether a pod gets the address of another by its name. Of IPv4: where nobody answers for IPv6, that takes seconds.
resolve() {
  if inside "$(main_process_of "$1")" timeout 3 getent ahostsv4 "$2" >/dev/null 2>&1; then echo resolved; else echo not resolved; fi
}

# The directory of a container's control group: of a controller (version 1), or the only one (version 2).
control_group_of() {
  local process path
  process=$(process_of "$1")
  path=$(awk -F: -v of="$2" '("," $2 ",") ~ ("," of ",") { print $3 }' "/proc/$process/cgroup")
  if [ -n "$path" ]; then
    echo "/sys/fs/cgroup/$2$path"
  else
    echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$process/cgroup")"
  fi
}

# Lets a container have so many microseconds of a core in every 100 ms.
limit_cpu() {
  local group
  group=$(control_group_of "$1" cpu)
  if [ -e "$group/cpu.max" ]; then
    cat "$group/cpu.max" >"$STATE/cpu" && echo "$2 100000" >"$group/cpu.max"
  else
    cat "$group/cpu.cfs_quota_us" >"$STATE/cpu" && echo "$2" >"$group/cpu.cfs_quota_us"
  fi
}

restore_cpu() {
  local group
  group=$(control_group_of "$1" cpu)
  if [ -e "$group/cpu.max" ]; then cat "$STATE/cpu" >"$group/cpu.max"; else cat "$STATE/cpu" >"$group/cpu.cfs_quota_us"; fi
}

# Whether the kernel has held a container back within half a second.
held_back() {
  local statistics before after
  statistics=$(control_group_of "$1" cpu)/cpu.stat
  before=$(sed -n 's/^nr_throttled //p' "$statistics")
  sleep 0.5
  after=$(sed -n 's/^nr_throttled //p' "$statistics")
  if ((after > before)); then echo "held back"; else echo "not limited"; fi
}

# How often the kernel has killed a process of a control group for want of memory.
kills_for_memory() {
  cat "$1/memory.events" "$1/memory.oom_control" 2>/dev/null | sed -n 's/^oom_kill //p'
}

# Takes memory on a container's account, until the kernel kills its first process, which is made the first choice.
fill_memory() {
  local group before
  group=$(control_group_of "$1" memory)
  before=$(kills_for_memory "$group")
  echo 1000 >"/proc/$(process_of "$1")/oom_score_adj"
  (
    echo "$BASHPID" >"$group/cgroup.procs"
    exec python3 -c 'if True:
      import time
      held, deadline = [], time.monotonic() + 20
      while time.monotonic() < deadline:
          held.append(b"x" * 2**20)'
  ) &
  for _ in {1..200}; do
    sleep 0.1
    if [ "$(kills_for_memory "$group")" != "$before" ]; then break; fi
  done
  kill -KILL $! 2>/dev/null
  wait $! 2>/dev/null
  [ "$(kills_for_memory "$group")" != "$before" ]
}

# Whether a volume can be full while the host is not; says why not.
has_filesystem_of_its_own() {
  if [ "$(stat --format %d "$(directory_of "$1")")" = "$(stat --format %d /)" ]; then
    echo "its volume is on the filesystem of the host, which would be full as well"
    return 1
  fi
}

fill_disk() {
  local directory room
  directory=$(directory_of "$1")
  room=$(df --output=avail --block-size=1 "$directory" | tail -n 1)
  fallocate --length "$room" "$directory/$FAULT"
}

room_on_disk() {
  local room
  room=$(df --output=avail --block-size=1K "$(directory_of "$1")" | tail -n 1)
  if ((room < 64)); then echo "the disk is full"; else echo "the disk has room"; fi
}

# Asks a Redis as its administrator. The password is in no list of processes.
ask_redis() {
  # shellcheck disable=SC2016 # for the shell of the container
  inside "$(process_of "$1")" sh -c \
    'REDISCLI_AUTH=$(sed "s|.*:\(.*\)@.*|\1|" /run/credentials/redis/uri) exec redis-cli --no-auth-warning "$@"' - "${@:2}"
}

set_redis_memory() {
  ask_redis "$1" config get maxmemory | tail -n 1 >"$STATE/maxmemory" && ask_redis "$1" config set maxmemory "$2" >/dev/null
}

restore_redis_memory() {
  ask_redis "$1" config set maxmemory "$(cat "$STATE/maxmemory")" >/dev/null
}

redis_memory() {
  local said used most
  said=$(ask_redis "$1" info memory | tr -d '\r')
  used=$(sed -n 's/^used_memory://p' <<<"$said")
  most=$(sed -n 's/^maxmemory://p' <<<"$said")
  if ((most > 0 && used > most)); then echo "Redis is full"; else echo "Redis has room"; fi
}

# Drops what this host and others send each other, also for their pods, in a table of this fault's own.
cut_off() {
  local interface
  interface=$(ip -oneline route get "${1%%,*}" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
  nft "add table inet $FAULT
    add chain inet $FAULT received { type filter hook input priority 0; }
    add chain inet $FAULT sent { type filter hook output priority 0; }
    add chain inet $FAULT passed { type filter hook forward priority 0; }
    add rule inet $FAULT received ip saddr { $1 } drop
    add rule inet $FAULT sent ip daddr { $1 } drop
    add rule inet $FAULT passed oifname $interface ip daddr $2 drop
    add rule inet $FAULT passed iifname $interface ip saddr $2 drop"
}

reach() {
  if ping -c 1 -W 1 "${1%%,*}" >/dev/null 2>&1; then echo "the other nodes answer"; else echo "no answer"; fi
}

# Whether this host has a clock of its own; says why not.
can_set_clock() {
  if [ "$(cat /proc/1/comm)" != systemd ] || systemd-detect-virt --container --quiet; then
    echo "this host is a container, which has the clock of its machine"
    return 1
  fi
}

# Seconds since this host was started, which go on evenly.
uptime_s() {
  cut -d ' ' -f 1 /proc/uptime
}

# When this host was started, by its clock as it is now.
started_at() {
  echo "$(date +%s.%N) $(uptime_s)" | awk '{ printf "%.2f", $1 - $2 }'
}

# Sets the clock so many seconds ahead, and keeps what is needed to set it right however long that takes.
step_clock() {
  started_at >"$STATE/started" && date --set "@$(echo "$(date +%s.%N) $1" | awk '{ printf "%.3f", $1 + $2 }')" >/dev/null
}

restore_clock() {
  date --set "@$(echo "$(cat "$STATE/started") $(uptime_s)" | awk '{ printf "%.3f", $1 + $2 }')" >/dev/null
}

# By how much the clock has moved against the time that has passed since the host was started.
clock() {
  local moved
  moved=$(echo "$(started_at) $(cat "$STATE/started" 2>/dev/null)" | awk '{ printf "%d", (NF > 1) ? $1 - $2 : 0 }')
  if ((moved > 60)); then
    echo "$moved s ahead"
  elif ((moved < -60)); then
    echo "${moved#-} s behind"
  else
    echo "right"
  fi
}
