#!/usr/bin/env bash
# Proves that the README's two commands are all that a fresh Debian 12 machine needs. Run on demand, not in CI: about ten minutes, needs root,
# debootstrap and a Docker engine, and leaves nothing behind.
#
#     tests/fresh_machine.sh [root] [user] [--first-only]
#
# A fresh machine is a container of `debootstrap --variant=minbase --include=python3,python3-venv,git,ca-certificates,sudo bookworm` with the
# privileges below: as near to a machine of its own as a container gets (namespaces, mounts, an engine inside). As `root`, everything is installed by the commands themselves, after a first
# installation that is killed in the middle. As `user` (no sudo rights), the first attempt must name the line that installs what is missing; that line is
# carried out by root, and everything else by the user. --first-only leaves the second command, the tests, out.
# The container uses this machine's apt and pip settings, found at run time.
set -euo pipefail

readonly packages=python3,python3-venv,git,ca-certificates,sudo suite=bookworm
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
work=$(mktemp -d /tmp/fresh-machine.XXXXXX)
image=capsize/fresh-machine:$$
readonly repository work image
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

cleanup() {
  docker rm --force --volumes "${image//[:\/]/-}" >/dev/null 2>&1 || true
  docker rmi --force "$image" >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

say() { printf '\n#### %s\n' "$*"; }

make_image() {
  local mirror
  # The mirror that this machine uses for the suite; debootstrap's own choice where it uses none.
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | awk -v suite="$suite" '$1 == suite && $2 == "main" { print $3; exit }')
  debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" ${mirror:+"$mirror"} >"$work/debootstrap.log" || {
    tail -n 20 "$work/debootstrap.log"
    return 1
  }
  apt-config dump Acquire >"$work/root/etc/apt/apt.conf.d/90machine"
  tar -C "$work/root" --numeric-owner --exclude='./proc/*' --exclude='./sys/*' -c . | docker import - "$image" >/dev/null
  rm -rf --one-file-system "$work/root"
}

privileges() { # one argument a line: all that this machine's root may do itself; no seccomp, AppArmor or masked paths; cgroups; FUSE
  printf '%s\n' --security-opt=seccomp=unconfined --security-opt=apparmor=unconfined --security-opt=systempaths=unconfined \
    --cgroupns=host --volume=/sys/fs/cgroup:/sys/fs/cgroup:rw --device=/dev/fuse --device-cgroup-rule='a *:* rwm' --cap-add=ALL
  # `--privileged` asks for every capability there is, which fails where this machine's own root lacks one.
  local number=0 name bounding
  bounding=0x$(awk '$1 == "CapBnd:" { print $2 }' /proc/self/status)
  while read -r name; do
    (((bounding >> number++) & 1)) || printf '%s\n' "--cap-drop=${name^^}"
  done < <(setpriv --list-caps)
}

settings=() # docker's arguments that carry this machine's pip settings into the container
carry_settings() {
  local file value path
  while read -r file; do
    [[ -f $file ]] || continue
    settings+=(--mount "type=bind,src=$file,dst=$file,readonly")
    # What root has for itself, the other user gets, too.
    [[ $file == "$HOME"/* ]] && settings+=(--mount "type=bind,src=$file,dst=/home/person/${file#"$HOME"/},readonly")
    values+=("$(<"$file")")
  done < <(python3 -m pip config debug | sed -nE 's/^ *(\/[^,]*), exists: True$/\1/p')
  while IFS='=' read -r file value; do
    settings+=(--env "$file=$value")
    values+=("$value")
  done < <(env | grep -E '^(PIP_|SSL_CERT_FILE=|REQUESTS_CA_BUNDLE=)' || true)
  # Folders and files that the settings name: certificates, local indexes (whose files lie beside them).
  while read -r path; do
    [[ -e $path ]] && settings+=(--mount "type=bind,src=$path,dst=$path,readonly")
  done < <(printf '%s\n' "${values[@]}" | grep -oE '(^|[ =]|file://)/[^ ]+' | grep -oE '/[^/].*' | sed -E 's|/simple/?$||' | sort -u)
}
values=()

# What happens inside. $1: root or user; $2: --first-only or nothing.
inside() {
  cat <<'INSIDE'
set -euo pipefail
who=$1 first_only=${2:-}
say() { printf '\n#### [%s] %s\n' "$who" "$*"; }
as() { if [[ $who == root ]]; then bash -c "$1"; else HOME=/home/person USER=person runuser -u person -- bash -c "$1"; fi; }
home=/root
if [[ $who == user ]]; then
  id person >/dev/null 2>&1 || useradd --create-home person
  home=/home/person
  chown person: "$home"
fi
chmod 755 /machine
as "cd $home && git -c advice.detachedHead=false clone --quiet /machine/capsize.bundle capsize"
[[ -d /machine/shared ]] && ln -s /machine/shared "$home/shared"
cd "$home/capsize"
# The commands are those that the README says, whatever it says.
mapfile -t commands < <(sed -n '/^```/,/^```/p' README.md | grep '^\./' | head -n 2 | sed 's/ *#.*//')
say "the README's commands: ${commands[0]} | ${commands[1]}"

if [[ $who == root ]]; then
  say "a first installation, killed in the middle"
  setsid ./capsize doctor </dev/null &
  sleep 15
  kill -9 -- "-$!" # fails, and so do we, if it was done already: then it was not killed in the middle
  wait "$!" || true
  test -e .venv/installing
else
  say "without rights and without packages: it must say what to type"
  status=0
  as "cd $home/capsize && ${commands[0]}" </dev/null >/tmp/said 2>&1 || status=$?
  cat /tmp/said
  test "$status" = 70
  line=$(grep -oE "sudo sh -c '[^']+'" /tmp/said)
  say "root types: $line"
  eval "${line#sudo }" >/dev/null 2>&1
fi

say "first command: ${commands[0]}"
begin=$SECONDS
as "cd $home/capsize && ${commands[0]}" </dev/null 2>&1 | tee /tmp/first
say "exit code ${PIPESTATUS[0]} after $((SECONDS - begin)) s"
grep -q VALID /tmp/first
page=$(grep -oE '[^ ]+report\.html' /tmp/first | tail -n 1)
test -s "$page" && say "the page is there: $page ($(stat -c %s "$page") bytes)"
# Nothing but ignored files was written into the checkout.
status=$(as "cd $home/capsize && git status --porcelain")
test -z "$status"

if [[ -z $first_only ]]; then
  say "second command: ${commands[1]}"
  begin=$SECONDS
  as "cd $home/capsize && ${commands[1]}" </dev/null 2>&1 | tee /tmp/second | tail -n 60 || { grep -E '^(FAILED|ERROR)' /tmp/second; exit 1; }
  say "exit code 0 after $((SECONDS - begin)) s"
fi
INSIDE
}

run_as() { # WHO
  say "fresh machine, as $1"
  docker run --rm --name "${image//[:\/]/-}" "${privileged[@]}" --interactive --volume /var/lib/docker "${settings[@]}" \
    --mount "type=bind,src=$work/machine,dst=/machine" "${shared[@]}" --env LC_ALL=C.UTF-8 \
    "$image" bash -c "$(inside)" fresh-machine "$1" "$first_only" </dev/null
}

first_only='' people=()
for argument in "$@"; do
  case $argument in
    root | user) people+=("$argument") ;;
    --first-only) first_only=$argument ;;
    *) echo "usage: tests/fresh_machine.sh [root] [user] [--first-only]" >&2 && exit 64 ;;
  esac
done
((${#people[@]})) || people=(root user)
((EUID == 0)) || { echo "needs root: sudo $0" >&2 && exit 70; }

mkdir "$work/machine"
# A bundle has no owner: git asks no questions about whose repository it is.
git -C "$repository" bundle create --quiet "$work/machine/capsize.bundle" HEAD
shared=()
if [[ -d $repository/../shared ]]; then
  mkdir "$work/machine/shared"
  shared=(--mount "type=bind,src=$(cd "$repository/../shared" && pwd -P),dst=/machine/shared,readonly")
fi
say "building the machine: debootstrap --variant=minbase --include=$packages $suite"
make_image
carry_settings
mapfile -t privileged < <(privileges)
for person in "${people[@]}"; do run_as "$person"; done
say "all passed: ${people[*]}"
