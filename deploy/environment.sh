#!/bin/sh
# Usage: deploy/environment.sh install|dev
#
# Brings .venv up to date: `install` installs what production needs, `dev` also the tools for tests and checks.
#
# .venv is a link to a folder in .venvs/. When the requirements change, a new folder is built beside the current one, and
# the link is switched once the new one is complete. A running server keeps its folder, including modules that it has not
# imported yet. A working environment with the required packages is never replaced, whatever PYTHON3 says.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)

fail() {
  echo "$*" >&2
  exit 1
}

# Whether the environment's Python starts, finds its packages, and is in this checkout (environments cannot be moved).
runs() {
  [ -L .venv ] && .venv/bin/python -c 'import pip, sys; sys.exit(sys.prefix != sys.argv[1])' \
    "$here/$(readlink .venv)" 2>/dev/null
}

# Each environment contains a copy of its requirements, written once they are all installed.
has() {
  cmp -s "$1" ".venv/$1"
}

is_up_to_date() {
  runs && has requirements.txt && { [ "$1" = install ] || has requirements-dev.txt; }
}

# Whether a process runs from this folder: its command line names its Python. grep reads the path from stdin, because
# otherwise its own command line would match.
in_use() {
  printf '%s\n' "$1/" | grep -qsF --file=- /proc/[0-9]*/cmdline /proc/[0-9]*/maps
}

# Arguments: the environment's folder, then pip's arguments. The requirements list every package, so pip need not resolve
# dependencies, and the hashes of its files, so that nothing else is installed, whatever the index serves.
install_packages() {
  python=$1/bin/python
  shift
  "$python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes "$@" || fail "The packages were not installed."
  problems=$("$python" -m pip check) || fail "$problems"
}

count() {
  grep '==' "$@" | grep -vc "sys_platform == 'win32'"
}

# Packages for the tools only. Shared packages have the same version in both files.
add_tools() {
  echo "Adding $(grep -vxFf requirements.txt requirements-dev.txt | count) packages for tests and checks:" \
    "450 MB more, usually less than a minute."
  install_packages "$1" -r requirements.txt -r requirements-dev.txt
  cp requirements-dev.txt "$1/"
}

check_python() {
  version=$("$1" -c 'import platform; print(platform.python_version())' 2>/dev/null) ||
    fail "$1 was not found or does not start. Choose Python 3.11 or newer: make install PYTHON3=python3.12"
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$1 is Python $version, but 3.11 or newer is required. Choose one: make install PYTHON3=python3.12"
  "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$1 cannot create virtual environments. On Debian: apt-get install python3-venv"
}

build() {
  if [ -d .venv ] && [ ! -L .venv ] && in_use "$here/.venv"; then
    fail "A process runs from .venv, a folder that an older Makefile created and that cannot be replaced while" \
      "in use. Stop the process, run make install, and start the process again."
  fi
  python=python3
  if runs; then python=.venv/bin/python; fi
  python=${PYTHON3:-$python}
  check_python "$python"

  new=.venvs/$(date +%Y-%m-%d.%H%M%S)
  mkdir "$new"
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' HUP INT TERM
  echo "Installing $(count requirements.txt) packages for production in .venv: 300 MB, usually less than a minute."
  "$python" -m venv --without-pip "$here/$new"
  name_python "$here/$new"
  "$new/bin/python" -m ensurepip --default-pip >/dev/null
  install_packages "$here/$new" -r requirements.txt
  cp requirements.txt "$new/"
  if [ "$1" = dev ]; then add_tools "$here/$new"; fi

  previous=$(readlink .venv || true)
  if [ -d .venv ] && [ ! -L .venv ]; then rm -rf .venv; fi
  ln -sfn "$new" .venv.new
  "$new/bin/python" -c 'import os; os.replace(".venv.new", ".venv")'
  trap - EXIT
  remove_old "$new" "$previous"
}

# Python derives its prefix from the path it was started with. Started through the link, it would later import from
# wherever the link points then. So bin/python is a script that starts it by the folder's own path, as pip's scripts do.
name_python() {
  interpreter=$(readlink -f "$1/bin/python")
  own_path=$1/bin/$("$1/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  ln -sf "$interpreter" "$own_path"
  for name in python python3; do
    rm "$1/bin/$name"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$own_path" >"$1/bin/$name"
    chmod +x "$1/bin/$name"
  done
}

# The previous environment is always kept, because not every system shows other users' processes.
remove_old() {
  for old in .venvs/*; do
    if [ "$old" != "$1" ] && [ "$old" != "$2" ] && ! in_use "$here/$old"; then rm -rf "$old"; fi
  done
}

case ${1:-} in
  install | dev) want=$1 ;;
  *) fail "Usage: deploy/environment.sh install|dev" ;;
esac
if is_up_to_date "$want"; then exit; fi

# One at a time. Another run may have done the work while this one waited.
mkdir -p .venvs
if command -v flock >/dev/null; then
  exec 9>.venvs/.lock
  flock 9
  if is_up_to_date "$want"; then exit; fi
fi
if runs && has requirements.txt && [ ! -e .venv/requirements-dev.txt ]; then
  add_tools "$here/$(readlink .venv)"
  exit
fi
# An environment that had the tools keeps them.
if [ -e .venv/requirements-dev.txt ]; then want=dev; fi
build "$want"
