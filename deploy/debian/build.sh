#!/usr/bin/env bash
# Builds the Debian package from a built checkout (npm run build):
#   deploy/debian/build.sh ARCH [FOLDER]      ARCH: amd64 or arm64 (needs gcc-aarch64-linux-gnu)
# Nothing is compiled when it is installed: the library is in it, and a Node.js runtime from npm, checked against the hashes below.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$(mkdir -p "${2:-.}" && cd "${2:-.}" && pwd)

node_version=24.21.0
case ${1:-} in
  amd64) native=build arch='' cpu=x64 strip=strip objdump=objdump
    node_integrity='sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==' ;;
  arm64) native=build/aarch64 arch=aarch64 cpu=arm64 strip=aarch64-linux-gnu-strip objdump=aarch64-linux-gnu-objdump
    node_integrity='sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==' ;;
  *) echo 'usage: build.sh amd64|arm64 [FOLDER]' >&2; exit 2 ;;
esac
[ -f "$root/dist/cli/main.js" ] || { echo 'build.sh: no dist/; run "npm run build" first' >&2; exit 1; }

version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$root/package.json")-1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
stage=$work/beta-qmm
lib=$stage/usr/lib/beta
doc=$stage/usr/share/doc/beta-qmm
mkdir -p "$lib/native/build" "$lib/bin" "$doc" "$stage"/{DEBIAN,etc/beta/boards,etc/modprobe.d,usr/bin,usr/share/man/man1,usr/share/lintian/overrides} \
  "$stage"/{lib/systemd/system,lib/udev/rules.d}

# The library, for the oldest C library that is supported.
make -s -C "$root/native" ARCH="$arch" "$native/libbeta.so" "$native/beta-loader"
for file in libbeta.so beta-loader; do
  "$strip" -o "$lib/native/build/$file" --strip-unneeded --remove-section=.comment --remove-section=.note "$root/native/$native/$file"
  newest=$("$objdump" -T "$lib/native/build/$file" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
  [ "$(printf '%s\n' "$newest" GLIBC_2.34 | sort -V | tail -1)" = GLIBC_2.34 ] || { echo "build.sh: $file needs $newest" >&2; exit 1; }
done
chmod 644 "$lib/native/build/libbeta.so"

# The project and the packages it needs to run.
cp "$root/package.json" "$root/package-lock.json" "$lib/"
(cd "$lib" && npm ci --silent --omit=dev --ignore-scripts --os=linux --cpu="$cpu" --libc=glibc)
cp -R "$root/dist" "$root/models" "$root/firmware-config" "$lib/"
rm -rf "$lib/package-lock.json" "$lib/node_modules/.package-lock.json" "$lib/node_modules/.bin" "$lib"/node_modules/koffi/{doc,lib,vendor}
find "$lib/node_modules/koffi/src" -type f ! -name '*.js' ! -name '*.cjs' -delete
find "$lib/node_modules" -type d \( -name test -o -name tests -o -name example -o -name examples -o -name benchmarks -o -name docs -o -name '.*' -o -name 'musl_*' \) \
  -prune -exec rm -rf {} +
find "$lib/node_modules" "$lib/dist" -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.md' -o -name '*.html' -o -name '*.sh' \
  -o -name '.*' -o -name Makefile \) -delete
find "$lib/node_modules" -type d -empty -delete

# Its runtime.
(cd "$work" && npm pack --silent "node-linux-$cpu@$node_version" >/dev/null)
actual=sha512-$(openssl dgst -sha512 -binary "$work"/node-linux-*.tgz | base64 -w0)
[ "$actual" = "$node_integrity" ] || { echo "build.sh: node-linux-$cpu@$node_version has another hash: $actual" >&2; exit 1; }
tar -xzf "$work"/node-linux-*.tgz -C "$work"
"$strip" -o "$lib/bin/node" --strip-unneeded "$work/package/bin/node"
gzip -9n <"$work/package/LICENSE" >"$doc/node.LICENSE.gz"

printf '#!/bin/sh\nexec /usr/lib/beta/bin/node /usr/lib/beta/dist/cli/main.js "$@"\n' >"$stage/usr/bin/beta"
install -m 644 "$root"/deploy/systemd/* "$stage/lib/systemd/system/"
install -m 644 "$root/deploy/udev/60-beta.rules" "$stage/lib/udev/rules.d/"
install -m 644 "$root/deploy/modprobe/beta.conf" "$stage/etc/modprobe.d/beta.conf"
install -m 644 "$root/deploy/beta.yaml" "$stage/etc/beta/beta.yaml"
gzip -9n <"$root/deploy/man/beta.1" >"$stage/usr/share/man/man1/beta.1.gz"
cp "$root"/docs/*.md "$here/copyright" "$doc/"
printf 'beta-qmm (%s) unstable; urgency=medium\n\n  * See the project for its history.\n\n -- The beta maintainers <maintainers@example.org>  %s\n' \
  "$version" "$(git -C "$root" log -1 --format=%cD 2>/dev/null || date -R)" | gzip -9n >"$doc/changelog.Debian.gz"
install -m 644 "$here/lintian-overrides" "$stage/usr/share/lintian/overrides/beta-qmm"

find "$stage" -type d -exec chmod 755 {} +
find "$stage/usr/lib" "$stage/usr/share" -type f -exec chmod 644 {} +
chmod 755 "$stage/usr/bin/beta" "$lib/bin/node" "$lib/native/build/beta-loader" "$lib/firmware-config/package/make-package"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$stage/DEBIAN/"
printf '%s\n' /etc/beta/beta.yaml /etc/modprobe.d/beta.conf >"$stage/DEBIAN/conffiles"
(cd "$stage" && find etc lib usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
sed -e "s/@VERSION@/$version/; s/@ARCH@/$1/; s/@SIZE@/$(du -sk --exclude=DEBIAN "$stage" | cut -f1)/" "$here/control.in" >"$stage/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz -z"${BETA_DEB_LEVEL:-6}" --build "$stage" "$out/beta-qmm_${version}_$1.deb" >/dev/null
echo "$out/beta-qmm_${version}_$1.deb"
