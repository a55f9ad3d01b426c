# shellcheck shell=bash
# Where things are, as faults.sh asks for them: workloads are pods of Podman, and have their names.

process_of() {
  podman container inspect --format '{{if .State.Running}}{{.State.Pid}}{{end}}' "$@" 2>/dev/null
}

main_process_of() {
  process_of "$1-$1"
}

network_of() {
  echo "/proc/$(podman ps --filter "pod=$1" --filter 'name=-infra$' --format '{{.Pid}}')/ns/net"
}

addresses_of() {
  podman container inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1-$1"
}

directory_of() {
  podman volume inspect --format '{{.Mountpoint}}' "$1"
}

restart_pod() {
  if [ "$(cat /proc/1/comm)" = systemd ]; then
    systemctl restart "courseload-$1.service"
  else
    restart_by_podman "$1"
  fi >/dev/null
}

# In two steps, as a reboot does: `podman pod restart` of Podman 4.3 may stop what it has just started. And what it starts
# while it still tidies up after the stop does not stay.
restart_by_podman() {
  podman pod stop --time 30 "$1"
  for _ in {1..10}; do
    podman pod start "$1"
    sleep 1
    if [ "$(podman pod inspect --format '{{.State}}' "$1")" = Running ]; then return; fi
  done
  return 1
}
