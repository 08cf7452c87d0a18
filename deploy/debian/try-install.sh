#!/usr/bin/env bash
# Installs a package in a fresh Debian root, uses it as its user, and purges it:
#   sudo deploy/debian/try-install.sh FILE.deb
# Needs debootstrap; for another architecture than this machine's also qemu-user-static. systemd does not run in it: what the unit
# starts is started by hand.
set -euo pipefail
deb=$(realpath "${1:?usage: try-install.sh FILE.deb}")
architecture=$(dpkg-deb -f "$deb" Architecture)
root=$(mktemp -d)
chmod 755 "$root" # "/" of another user too
# debootstrap mounts what it needs, and leaves it when it fails.
trap 'umount -q "$root/proc" "$root/sys" || true; rm -rf --one-file-system "$root"' EXIT
fail() { echo "try-install: $*" >&2; exit 1; }

if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
  binfmt=/proc/sys/fs/binfmt_misc
  [ -e $binfmt/register ] || mount -t binfmt_misc none $binfmt
  [ -e $binfmt/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >$binfmt/register
fi
debootstrap --arch="$architecture" --variant=minbase --include=adduser,libstdc++6,init-system-helpers bookworm "$root" >"$root.log" 2>&1 ||
  { tail -20 "$root.log" >&2; fail 'debootstrap failed'; }
rm -f "$root.log"
# V8 and the library look at the machine.
mkdir -p "$root/proc" "$root/dev"
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"; }
as_beta() { chroot --userspec=beta:beta "$root" env -i PATH=/usr/bin:/bin HOME=/var/lib/beta LC_ALL=C "$@"; }

cp "$deb" "$root/beta.deb"
in_root dpkg -i /beta.deb >/dev/null
in_root getent passwd beta >/dev/null || fail 'there is no user beta'
[ -e "$root/etc/systemd/system/multi-user.target.wants/betad.service" ] || fail 'betad.service is not enabled'
[ ! -e "$root/etc/systemd/system/sockets.target.wants/beta-loader.socket" ] || fail 'beta-loader.socket is enabled'

report=$(as_beta beta doctor --json) || fail "doctor: $report"
case $report in
  *'"ok":true,"serves":"emu:"'*) ;;
  *) fail "doctor says: $report" ;;
esac
as_beta beta run intents 'transfer ten dollars to my savings account' --json | grep -q '"label":"transfer"' || fail 'run has another answer'

# What the unit starts, as its user.
command=$(sed -n 's/^ExecStart=//p' "$root/lib/systemd/system/betad.service")
as_beta $command --port 0 --json >"$root/served" &
daemon=$!
for _ in $(seq 600); do
  grep -q '"ready":true' "$root/served" && break
  kill -0 $daemon 2>/dev/null || fail 'the daemon ended'
  sleep 0.2
done
grep -q '"ready":true' "$root/served" || fail 'the daemon is not ready after two minutes'
kill -TERM $daemon
wait $daemon || fail "the daemon ended with $?"

in_root dpkg --purge beta-qmm >/dev/null
[ ! -e "$root/usr/lib/beta" ] && [ ! -e "$root/etc/beta/beta.yaml" ] || fail 'something is left after a purge'
echo "try-install: $(basename "$deb") installs, serves as user beta, and goes without a trace"
