#!/usr/bin/env bash
# The slow half of the board's tests: Debian packages for both architectures, checked and installed in a root of each, then a ZCU102 in QEMU
# that runs the arm64 one, its engine a process on this machine. Needs root (or sudo) and the packages that .ci/run installs.
set -euo pipefail
cd "$(dirname "$0")/../.."
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for architecture in amd64 arm64; do
  echo "--- the Debian package for $architecture"
  package=$(BETA_DEB_LEVEL=1 timeout 900 deploy/debian/build.sh "$architecture" "$folder")
  timeout 900 deploy/debian/check.sh "$package"
  timeout 900 "${sudo[@]}" deploy/debian/try-install.sh "$package"
done

echo '--- the board in QEMU'
timeout 900 test/board/build-guest.sh "$folder/guest"
BETA_BOARD_GUEST=$folder/guest timeout --kill-after=10 1200 npx vitest run -c test/board/vitest.qemu.config.ts
