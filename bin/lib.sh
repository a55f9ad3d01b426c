# shellcheck shell=bash
# Makes .venv from the locks in requirements/, for the commands in this directory. Source it; then call `provide`.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$repository/.venv

say() {
  printf 'courseload: %s\n' "$*" >&2
}

stop() {
  say "$*"
  exit 1
}

# provide NAME...: installs requirements/NAME.txt into .venv, in that order, unless it is there already.
# Two at once wait for each other; what an interrupted one left behind is made anew.
provide() {
  local lock
  exec 9<"$repository/bin/lib.sh"
  flock --nonblock 9 || { say 'waiting for another command that is installing into .venv'; flock 9; }
  __make_venv
  for lock in uv "$@"; do
    __install "$lock"
  done
  exec 9<&-
}

__make_venv() {
  local python identity
  python=$(__find_python)
  # A virtual environment is bound to its Python and to where it lies: after a move or an upgrade it does not start.
  identity="$venv $("$python" -V) $python"
  [[ -e $venv/.unfinished || $(cat "$venv/.identity" 2>/dev/null) != "$identity" ]] || return 0
  [[ -w $repository && (! -e $venv || -w $venv) ]] || stop "cannot write $venv: run this as its owner (for example with sudo)."
  __require_venv_module "$python"
  say "making .venv with $("$python" -V)"
  rm -rf "$venv"
  mkdir "$venv"
  touch "$venv/.unfinished"
  "$python" -m venv "$venv"
  printf '%s\n' "$identity" >"$venv/.identity"
  rm "$venv/.unfinished"
}

# Prints the path of a Python that the locked release of Ansible runs on: the one that is installed, also where a virtual
# environment made from it is active, .venv itself included.
__find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    "$name" - 2>/dev/null <<'PYTHON' && return
import os, sys

if not (3, 11) <= sys.version_info < (3, 14):
    sys.exit(1)
print(os.path.realpath(sys._base_executable))
PYTHON
  done
  stop "needs Python 3.11, 3.12 or 3.13, and this machine has $(python3 -V 2>/dev/null || echo none)." \
    'Install one beside it (package python3.11 on Ubuntu 22.04), or use Debian 12 or 13, or Ubuntu 24.04.'
}

# Debian and Ubuntu ship Python without what makes virtual environments.
__require_venv_module() {
  local package
  "$1" -c 'import ensurepip, venv' 2>/dev/null && return
  package=$("$1" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
  command -v apt-get >/dev/null || stop "needs Python's venv module: install it, then run this again."
  [[ $EUID == 0 ]] || stop "needs $package: run 'sudo apt install $package', then run this again."
  say "installing $package"
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
    apt-get -qq install -y --no-install-recommends "$package"; } \
    >/dev/null || stop "could not install $package: what apt said is above."
}

# __install NAME: requirements/NAME.txt, unless that very lock was installed before.
__install() {
  local lock=$repository/requirements/$1.txt stamp=$venv/.installed-$1 seconds=$SECONDS
  cmp -s "$lock" "$stamp" && return
  say "installing requirements/$1.txt into .venv"
  touch "$venv/.unfinished"
  if [[ $1 == uv ]]; then
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  else
    run_uv pip install --python "$venv/bin/python" --require-hashes -r "$lock"
  fi || stop "could not install requirements/$1.txt: the reason is above. Is the Python package index in reach?"
  cp "$lock" "$stamp"
  rm "$venv/.unfinished"
  say "installed requirements/$1.txt in $((SECONDS - seconds)) s"
}

# run_uv ARGUMENTS...: uv, with what pip is told on this machine about where packages come from (uv does not ask pip).
run_uv() {
  local settings quiet=--quiet
  [[ -t 2 ]] && quiet=--no-color
  settings=$("$venv/bin/pip" config list)
  __setting() {
    sed -nE "s/^[^=]*\.$1='(.*)'\$/\1/p" <<<"$settings" | tail -n 1
  }
  # An empty value is not the same as none: an empty SSL_CERT_FILE trusts nobody.
  __inherit() {
    local value=${!1:-$(__setting "$2")}
    [[ -z $value ]] || export "$1=$value"
  }
  (
    __inherit UV_DEFAULT_INDEX index-url
    __inherit UV_INDEX extra-index-url
    __inherit UV_FIND_LINKS find-links
    __inherit SSL_CERT_FILE cert
    UV_SYSTEM_CERTS=1 exec "$venv/bin/uv" "$quiet" "$@"
  )
}
