#!/usr/bin/env bash
# The slow half of the board's tests: the Debian packages (packages.sh), then a ZCU102 in QEMU that runs the arm64 one, its engine a process
# on this machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

test/board/packages.sh "$folder"
echo '--- the board in QEMU'
BETA_BOARD_GUEST=$folder/guest timeout --kill-after=10 1200 npx vitest run -c test/board/vitest.qemu.config.ts
