#!/bin/bash
# Ends what k3s started on this host and undoes what it did to the network. Prints a line for each thing that it removes, and
# nothing where there is nothing to do. What is not k3s's is let be: each step asks for k3s's own marks. What carries the marks of any
# kubelet is k3s's only where it is the host's only one ("alone"); where another one is, or was before it ("beside"), that stays.
#
#   clean.sh POD_NETWORK alone|beside
set -u
pod_network=$1
alone=$([ "$2" = alone ] && echo yes)
data=/var/lib/rancher/k3s

# k3s brings its own ipset, and iptables where the host has none.
PATH=$PATH:/usr/sbin:/sbin:$data/data/current/bin:$data/data/current/bin/aux

have() { command -v "$1" >/dev/null; }

# --- Processes: containers and what watches over them. A restart of k3s, and its end, let them live.

descendants() {
  local child
  for child in $(ps -o pid= --ppid "$1"); do
    echo "$child"
    descendants "$child"
  done
}

# A k3s in somebody's container (k3d) has the same names, and files of its own.
of_this_host() { [ "$(readlink "/proc/$1/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]; }

left_processes() {
  local shim
  for shim in $(pgrep --full "^$data/data/[^/]+/bin/|containerd-shim.* -address /run/k3s/"); do
    of_this_host "$shim" || continue
    echo "$shim"
    descendants "$shim"
  done
  # Containers whose shim has died are known by their control group: the kubelet's is at the top, or below one that its option cgroup-root
  # names; that of one in a container (kind) is deeper. On a host that is itself a pod, everything is in such a one.
  if [ "$alone" ] && ! grep --quiet kubepods /proc/1/cgroup; then
    grep --files-with-matches --extended-regexp '^[0-9]+:[^:]*:/([a-z0-9-]+/)?kubepods[./]' /proc/[0-9]*/cgroup 2>/dev/null |
      cut --delimiter=/ --fields=3
  fi
}

for _ in $(seq 50); do
  pids=$(left_processes | sort --unique)
  [ -n "$pids" ] || break
  for pid in $pids; do
    kill -KILL "$pid" 2>/dev/null && echo "process $pid"
  done
  sleep 0.2
done

# --- Mounts, the deepest first. /var/lib/rancher and /var/lib/kubelet may be disks of the host's own: they stay.

# Whoever still lives in a network namespace keeps it: other runtimes name theirs alike.
lived_in=$(stat --dereference --format=%i /proc/[0-9]*/ns/net 2>/dev/null | sort --unique)
is_left() { ! grep --quiet --line-regexp "$(stat --format=%i "$1" 2>/dev/null || echo none)" <<<"$lived_in"; }

cut --delimiter=' ' --fields=5 /proc/self/mountinfo |
  grep --extended-regexp "^(/run/k3s/|$data/|/run/netns/cni-${alone:+|/var/lib/kubelet/})" |
  sort --reverse | while read -r escaped; do
    printf -v place '%b' "$escaped"
    [[ $place != /run/netns/* ]] || is_left "$place" || continue
    { umount "$place" 2>/dev/null || umount --lazy "$place"; } && echo "mount $place"
  done

# The kubelet mounts its directory onto itself where mounts of the host are not shared; beneath may be a disk.
[ -z "$alone" ] || for _ in $(awk '$5 == "/var/lib/kubelet" && (seen++ || $4 == $5)' /proc/self/mountinfo | wc --lines | xargs seq); do
  umount --lazy /var/lib/kubelet && echo 'mount /var/lib/kubelet'
done
for namespace in /run/netns/cni-*; do
  # One that is a mount still is somebody's.
  [ -e "$namespace" ] && ! grep --quiet --fixed-strings " $namespace " /proc/self/mountinfo && rm -f "$namespace" &&
    echo "network namespace $namespace"
done

# --- What belonged to the containers: control groups, the runtime's state, sockets of the shims (Docker's are here too), addresses.

if [ "$alone" ] && ! grep --quiet kubepods /proc/1/cgroup; then
  top=/sys/fs/cgroup
  # With version 1 each hierarchy has its own.
  [ -e $top/cgroup.controllers ] || top="$top/*"
  # shellcheck disable=SC2086 # the names are to be expanded
  find $top/kubepods* $top/*/kubepods* -depth -type d 2>/dev/null | while read -r group; do
    rmdir "$group" 2>/dev/null && echo "control group $group"
  done
fi
for socket in /run/containerd/s/*; do
  if [ -S "$socket" ] && ! grep --quiet --fixed-strings "$socket" /proc/net/unix; then
    rm -f "$socket" && echo "socket $socket"
  fi
done
# Whose a loopback device was is not in the name of its result: they are k3s's where there is no other kubelet.
for state in ${alone:+/run/containerd/runc/k8s.io /var/lib/cni/networks/cbr0} /var/lib/cni/results/cbr0-* \
  /var/lib/cni/cache/results/cbr0-* \
  ${alone:+/var/lib/cni/results/cni-loopback-* /var/lib/cni/cache/results/cni-loopback-*}; do
  [ -e "$state" ] && rm -rf "$state" && echo "$state"
done
# Directories that are empty now, unless a package brought them, or lets systemd make them.
for directory in /run/containerd /run/netns /var/lib/cni /opt/containerd /usr/libexec/kubernetes; do
  [ -d "$directory" ] || continue
  dpkg --search "$directory" >/dev/null 2>&1 || grep --recursive --quiet --no-messages "$directory" /usr/lib/tmpfiles.d ||
    find "$directory" -depth -type d -empty -print -delete
done

# --- Interfaces: the pods' ends of their cables go with the bridge they are plugged into.

if [ "$alone" ] && have ip; then
  for interface in $(ip -oneline link show master cni0 2>/dev/null | sed --regexp-extended 's/^[0-9]+: ([^:@]+).*/\1/') \
    cni0 flannel.1 flannel-v6.1 flannel-wg flannel-wg-v6 kube-ipvs0 nodelocaldns; do
    ip link show "$interface" >/dev/null 2>&1 && ip link delete "$interface" && echo "interface $interface"
  done
  # Ways to the pods of other nodes.
  ip -4 route show root "$pod_network" | while read -r route; do
    ip route delete "${route%% *}" && echo "route $route"
  done
fi

# --- Packet filter. Within one transaction for each table: rules elsewhere that lead into k3s's chains or were made by flannel
# go, then the chains. Rules and chains of others are not touched, their counters neither. A CNI- chain is that of the network that the
# rule which leads into it names, and k3s's is cbr0; those for the ports of all networks (CNI-HOSTPORT-) go with the last of them.

[ "$alone" ] || exit 0
removals() {
  awk '
    function ours(chain) { return chain ~ /^(KUBE-|FLANNEL-)/ || (chain in cbr0) || (chain ~ /^CNI-HOSTPORT-/ && !others) }
    /^\*/ { table = $0; n = m = others = 0; delete chains; delete rules; delete cbr0; next }
    /^:/ { chains[n++] = substr($1, 2); next }
    /^-A / {
      rules[m++] = $0
      for (i = 3; i < NF; i++) if (($i == "-j" || $i == "-g") && $(i + 1) ~ /^CNI-/ && $(i + 1) !~ /^CNI-HOSTPORT-/)
        if (/name: \\"cbr0\\"/) cbr0[$(i + 1)]; else others = 1
      if ($2 ~ /^CNI-/ && $2 !~ /^CNI-HOSTPORT-/ && /name: \\"cbr0\\"/) cbr0[$2]
      next
    }
    /^COMMIT/ {
      batch = ""
      for (i = 0; i < m; i++) {
        split(rules[i], word, " ")
        if (ours(word[2])) continue
        led = 0
        for (w = 3; w in word; w++) if ((word[w] == "-j" || word[w] == "-g") && ours(word[w + 1])) led = 1
        marks = "--comment \"(flanneld |kube-router netpol|rule to explicitly ACCEPT traffic that comply to network policies)"
        if (led || rules[i] ~ marks) { sub(/^-A/, "-D", rules[i]); batch = batch rules[i] "\n" }
        delete word
      }
      for (i = 0; i < n; i++) if (ours(chains[i])) batch = batch "-F " chains[i] "\n"
      for (i = 0; i < n; i++) if (ours(chains[i])) batch = batch "-X " chains[i] "\n"
      if (batch != "") printf "%s\n%sCOMMIT\n", table, batch
    }'
}
# The same rules show up under one name only; which one depends on what the host's iptables stands on.
for tool in iptables ip6tables iptables-legacy ip6tables-legacy iptables-nft ip6tables-nft; do
  have "$tool-save" || continue
  batch=$("$tool-save" 2>/dev/null | removals)
  [ -n "$batch" ] || continue
  if "$tool-restore" --noflush <<<"$batch"; then
    echo "$tool: $(grep --count '^-[DX]' <<<"$batch") rules and chains"
  else
    echo "$tool could not remove the rules of k3s" >&2
    exit 1
  fi
done
if have ipset; then
  for set in $(ipset list -name 2>/dev/null | grep --extended-regexp '^(inet6:)?(KUBE-|kube-router-)'); do
    ipset destroy "$set" && echo "set $set"
  done
fi
exit 0
