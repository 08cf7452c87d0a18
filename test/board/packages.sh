#!/usr/bin/env bash
# Debian packages for both architectures in FOLDER, checked, and installed, used and removed in a root of each; then the QEMU guest with the
# arm64 one, in FOLDER/guest: test/board/packages.sh FOLDER. Needs root (or sudo) and the packages that .ci/run installs.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:?usage: packages.sh FOLDER}
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)

for architecture in amd64 arm64; do
  echo "--- the Debian package for $architecture"
  package=$(BETA_DEB_LEVEL=1 timeout 900 deploy/debian/build.sh "$architecture" "$folder")
  timeout 900 deploy/debian/check.sh "$package"
  timeout 900 "${sudo[@]}" deploy/debian/try-install.sh "$package"
done
timeout 900 test/board/build-guest.sh "$folder/guest"
