# shellcheck shell=bash
# What the commands in this directory share. Source it; then call `provide`, which makes .venv from the locks in requirements/,
# and in the end `become`, which runs a program of it.
#
# The commands are run by `bash -p`, which takes over nothing of a shell's profile that could change what they do: no exported
# functions (a cd of one's own), no shell options, no CDPATH, no BASH_ENV.
set +o posix

repository=$(cd -P -- "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$repository/.venv

say() {
  printf 'courseload: %s\n' "$*" >&2
}

stop() {
  say "$*"
  exit 1
}

# Where an environment of Python, or a list of paths, cannot be; and what a shell, a template or a pattern would take for its own.
__check_path() {
  local character
  for character in ':' \\ '$' '{' '[' '*' '?' $'\n'; do
    [[ $repository != *"$character"* ]] ||
      stop "cannot work in $repository, because of the ${character@Q} in this path: move the clone to one without it."
  done
}

# What somebody has exported for other projects, other Pythons, other clusters is not taken over. What says how to get at hosts
# and packages, who one is, and how things are shown, stays; so do proxies.
__tidy_environment() {
  local name foreign kept
  foreign='ANSIBLE_*|PYTHON*|PIP_*|UV_*|VIRTUAL_ENV*|PYTEST_*|MYPY*|RUFF_*|YAMLLINT_*|SHELLCHECK_*|LOCUST_*'
  foreign+='|K8S_AUTH_*|CONTAINER_HOST|CONTAINER_CONNECTION|CONTAINERS_*CONF*|STORAGE_DRIVER|STORAGE_OPTS|BUILDAH_*'
  foreign+='|LANGUAGE|POSIXLY_CORRECT|BASH_ENV|ENV|CDPATH|GREP_OPTIONS'
  kept='ANSIBLE_@(HOST_KEY_CHECKING|PRIVATE_KEY_FILE|REMOTE_USER|REMOTE_PORT|TIMEOUT|SSH_@(COMMON|EXTRA)_ARGS|SSH_EXECUTABLE)'
  kept+='|ANSIBLE_@(VAULT_*|BECOME_PASS|*PASSWORD_FILE|VERBOSITY|DEBUG|NOCOLOR|FORCE_COLOR|LOG_PATH|FORKS)'
  kept+='|ANSIBLE_@(HOME|LOCAL_TEMP|REMOTE_TE?(M)P|KEEP_REMOTE_FILES)'
  kept+='|PIP_@(*INDEX*|FIND_LINKS|TRUSTED_HOST|*CERT|PROXY|TIMEOUT|RETRIES|*CACHE_DIR|CONFIG_FILE|KEYRING_PROVIDER)'
  kept+='|UV_@(*INDEX*|FIND_LINKS|*INSECURE_HOST|*TLS|*CERTS|HTTP_*|*CACHE*|LINK_MODE|OFFLINE|KEYRING_PROVIDER|CONCURRENT_*)'
  while IFS= read -r name; do
    # shellcheck disable=SC2053  # these are patterns
    [[ $name != @($foreign) || $name == @($kept) ]] || unset "$name"
  done < <(compgen -e)
  # Names and messages are in one language everywhere, and Ansible does not start without UTF-8.
  export LC_ALL=C.UTF-8
}

# provide NAME...: installs requirements/NAME.txt into .venv, in that order, unless it is there already.
# Whoever uses .venv holds a lock on it until it ends, so that nobody takes it away meanwhile; two that make it wait for each other.
provide() {
  local wanted=(uv "$@")
  __check_path
  __tidy_environment
  exec 9<"$repository/bin"
  __lock --shared 'waiting for another command that is installing into .venv'
  # A command of ours that another one has started cannot wait for that to end.
  [[ ${COURSELOAD_VENV:-} != "$venv" ]] || __provided "${wanted[@]}" ||
    stop 'requirements/ was changed while a command is running: run it again once that has ended.'
  until __provided "${wanted[@]}"; do
    flock --unlock 9
    __lock --exclusive 'waiting for another command that is using or making .venv'
    __provided "${wanted[@]}" || __make "${wanted[@]}"
    __lock --shared ''
  done
  export COURSELOAD_VENV=$venv
}

# become PROGRAM ARGUMENT...: runs a program of Python's in .venv in place of this script. Started so, and not by the first line
# of its file, it does not mind what is in the path.
become() {
  local entry drop=()
  # Functions that bash -p has not taken over would be handed on to the next Bash, as would shell options.
  while IFS= read -r -d '' entry; do
    [[ $entry != @(BASH_FUNC_*|SHELLOPTS=*|BASHOPTS=*) ]] || drop+=(-u "${entry%%=*}")
  done < <(env -0)
  # Not env itself: it takes a path with an = for a variable.
  exec env "${drop[@]}" /bin/bash -p -c 'exec "$@"' courseload "$venv/bin/python" "$@"
}

__lock() {
  flock --nonblock "$1" 9 && return
  say "$2"
  flock "$1" 9
}

# __provided NAME...: whether .venv is whole, works here, and has what those locks say.
__provided() {
  local lock
  __works || return
  for lock in "$@"; do
    cmp -s "$repository/requirements/$lock.txt" "$venv/.installed-$lock" || return
  done
}

# A virtual environment is bound to where it lies and to the release of Python that made it: after a move, or when that was replaced,
# it is made anew. Another Python beside it, wherever in PATH, is no reason.
__works() {
  local version
  [[ -x $venv/bin/python && -f $venv/.identity && ! -e $venv/.unfinished ]] || return
  version=$("$venv/bin/python" -V 2>/dev/null) || return
  [[ $(<"$venv/.identity") == "$venv ${version%.*}."* ]]
}

__make() {
  local lock
  [[ -w $repository && (! -e $venv || -w $venv) ]] || stop "cannot write $venv: run this as its owner (for example with sudo)."
  # A user-wide setting of pip would have it install elsewhere.
  export PIP_USER=0
  __works || __make_venv
  for lock in "$@"; do
    __install "$lock"
  done
}

__make_venv() {
  local python
  python=$(__find_python)
  __require_venv_module "$python"
  say "making .venv with $("$python" -V)"
  rm -rf "$venv"
  mkdir "$venv"
  touch "$venv/.unfinished"
  "$python" -m venv "$venv"
  printf '%s %s\n' "$venv" "$("$python" -V)" >"$venv/.identity"
  rm "$venv/.unfinished"
}

# Prints the path of a Python that the locked release of Ansible runs on: the one that is installed, also where a virtual
# environment made from it is active, .venv itself included.
__find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    "$name" -I - 2>/dev/null <<'PYTHON' && return
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
    __pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  else
    run_uv pip install --python "$venv/bin/python" --require-hashes -r "$lock"
  fi || stop "could not install requirements/$1.txt: the reason is above. Is the Python package index in reach?"
  cp "$lock" "$stamp"
  rm "$venv/.unfinished"
  say "installed requirements/$1.txt in $((SECONDS - seconds)) s"
}

__pip() {
  "$venv/bin/python" -m pip "$@"
}

# run_uv ARGUMENTS...: uv, with what pip is told on this machine about where packages come from (uv does not ask pip). It runs in
# the repository: what a directory that somebody happens to be in says to uv is for other projects.
run_uv() {
  local settings quiet=--quiet
  [[ -t 2 ]] && quiet=--no-color
  settings=$(__pip config list)
  __setting() {
    sed -nE "s/^[^=]*\.$1='(.*)'\$/\1/p" <<<"$settings" | tail -n 1
  }
  # An empty value is not the same as none: an empty SSL_CERT_FILE trusts nobody.
  __inherit() {
    local value=${!1:-$(__setting "$2")}
    [[ -z $value ]] || export "$1=$value"
  }
  (
    cd -P -- "$repository" || exit
    __inherit UV_DEFAULT_INDEX index-url
    __inherit UV_INDEX extra-index-url
    __inherit UV_FIND_LINKS find-links
    __inherit SSL_CERT_FILE cert
    UV_SYSTEM_CERTS=1 exec "$venv/bin/uv" "$quiet" "$@"
  )
}
