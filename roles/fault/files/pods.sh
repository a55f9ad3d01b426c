# shellcheck shell=bash
# Where things are, as faults.sh asks for them: workloads are pods of Podman, and have their names.

process_of() {
  podman container inspect --format '{{if .State.Running}}{{.State.Pid}}{{end}}' "$1" 2>/dev/null
}

main_process_of() {
  process_of "$1-$1"
}

network_of() {
  local infra
  infra=$(podman pod inspect --format '{{.InfraContainerID}}' "$1") && process_of "$infra"
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
    # In two steps, as a reboot does: `podman pod restart` of Podman 4.3 may stop what it has just started.
    podman pod stop --time 30 "$1" && podman pod start "$1"
  fi >/dev/null
}
