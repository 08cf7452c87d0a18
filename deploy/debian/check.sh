#!/usr/bin/env bash
# Checks a package without installing it: lintian finds no error, and systemd reads the units and finds what they start.
#   deploy/debian/check.sh FILE.deb
# Needs lintian and systemd (the package: nothing of it runs).
set -euo pipefail
deb=$(realpath "${1:?usage: check.sh FILE.deb}")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
lintian --fail-on error "$deb"
dpkg-deb -x "$deb" "$root"
# The targets that every unit depends on are this machine's.
cp -n /lib/systemd/system/*.target /lib/systemd/system/*.slice /lib/systemd/system/*.socket "$root/lib/systemd/system/"
complaints=$(systemd-analyze verify --man=no --root="$root" betad.service beta-loader.socket beta-loader@1.service 2>&1) ||
  { echo "check: $complaints" >&2; exit 1; }
[ -z "$complaints" ] || { echo "check: $complaints" >&2; exit 1; }
echo "check: $(basename "$deb") has no errors"
