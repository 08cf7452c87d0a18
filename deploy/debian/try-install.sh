#!/usr/bin/env bash
# Installs a package in a fresh Debian root, uses it as its user, and purges it:
#   sudo deploy/debian/try-install.sh FILE.deb
# Needs mmdebstrap; for another architecture than this machine's also qemu-user-static and arch-test. systemd does not run in it: what
# the unit starts is started by hand.
set -euo pipefail
deb=$(realpath "${1:?usage: try-install.sh FILE.deb}")
architecture=$(dpkg-deb -f "$deb" Architecture)
root=$(mktemp -d)
chmod 755 "$root" # "/" of another user too
binfmt=/proc/sys/fs/binfmt_misc
mounted= registered= daemon=
finish() {
  [ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null || true
  umount -q "$root/proc" || true
  rm -rf --one-file-system "$root" "$root.log"
  [ -z "$registered" ] || echo -1 >$binfmt/qemu-aarch64
  [ -z "$mounted" ] || umount -q $binfmt || true
}
trap finish EXIT
fail() { echo "try-install: $*" >&2; exit 1; }

if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
  [ -e $binfmt/register ] || { mount -t binfmt_misc none $binfmt && mounted=1; }
  [ -e $binfmt/qemu-aarch64 ] || { cat /usr/lib/binfmt.d/qemu-aarch64.conf >$binfmt/register && registered=1; }
fi
# Unpacked and not configured, which under qemu-user takes minutes: dpkg, what the package's own scripts call, and what it needs to run.
tools=dpkg,dash,coreutils,debianutils,sed,grep,tar,diffutils,libc-bin,perl-base,base-passwd,passwd,adduser,login,libpam-modules,init-system-helpers
mmdebstrap --mode=root --arch="$architecture" --variant=extract --include="$tools,libc6,libstdc++6,libgcc-s1" bookworm "$root" >"$root.log" 2>&1 ||
  { tail -20 "$root.log" >&2; fail 'mmdebstrap failed'; }
for file in passwd group; do cp "$root/usr/share/base-passwd/$file.master" "$root/etc/$file"; done
for kind in auth account session password; do echo "$kind required pam_permit.so" >"$root/etc/pam.d/common-$kind"; done
mkdir -p "$root"/{proc,root,run,var/lib}
# V8 and the library look at the machine.
mount -t proc proc "$root/proc"
in_root=(chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C)
as_beta=(chroot --userspec=beta:beta "$root" env -i PATH=/usr/bin:/bin HOME=/var/lib/beta LC_ALL=C)

cp "$deb" "$root/beta.deb"
# Its dependencies are there, but dpkg has no record of them.
"${in_root[@]}" dpkg --force-depends -i /beta.deb >/dev/null 2>"$root.log" || { cat "$root.log" >&2; fail 'dpkg -i failed'; }
"${in_root[@]}" getent passwd beta >/dev/null || fail 'there is no user beta'
[ -L "$root/etc/systemd/system/multi-user.target.wants/betad.service" ] || fail 'betad.service is not enabled'
[ ! -L "$root/etc/systemd/system/sockets.target.wants/beta-loader.socket" ] || fail 'beta-loader.socket is enabled'

report=$("${as_beta[@]}" beta doctor --json) || fail "doctor: $report"
case $report in
  *'"ok":true,"serves":"emu:"'*) ;;
  *) fail "doctor says: $report" ;;
esac
"${as_beta[@]}" beta run intents 'transfer ten dollars to my savings account' --json | grep -q '"label":"transfer"' || fail 'run has another answer'

# What the unit starts, as its user.
command=$(sed -n 's/^ExecStart=//p' "$root/lib/systemd/system/betad.service")
"${as_beta[@]}" $command --port 0 --json >"$root/served" &
daemon=$!
for _ in $(seq 600); do
  grep -q '"ready":true' "$root/served" && break
  kill -0 $daemon 2>/dev/null || fail 'the daemon ended'
  sleep 0.2
done
grep -q '"ready":true' "$root/served" || fail 'the daemon is not ready after two minutes'
kill -TERM $daemon
wait $daemon || fail "the daemon ended with $?"
daemon=

"${in_root[@]}" dpkg --purge beta-qmm >/dev/null
[ ! -e "$root/usr/lib/beta" ] && [ ! -e "$root/etc/beta/beta.yaml" ] || fail 'something is left after a purge'
echo "try-install: $(basename "$deb") installs, serves as user beta, and goes without a trace"
