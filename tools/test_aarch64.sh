#!/usr/bin/env bash
# Cross-compiles all kernels and tests of the integer ones for AArch64 and runs them under qemu, on a processor with products of bytes
# (Cortex-A76) and on one without (Cortex-A72). Works in build/aarch64; libraries for arm64 come from the
# distribution's archive and are only unpacked there.
#
# usage: tools/test_aarch64.sh [GTEST_FILTER]
# needs: Debian's g++-aarch64-linux-gnu, qemu-user and cmake, ninja-build
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-*}
for tool in aarch64-linux-gnu-g++ qemu-aarch64 cmake ninja; do
  command -v "$tool" >/dev/null ||
    { echo "$tool is not here: apt-get install g++-aarch64-linux-gnu qemu-user cmake ninja-build" >&2; exit 1; }
done

build=$PWD/build/aarch64
packages=$build/packages
if [ ! -f "$packages/complete" ]; then
  # A state of apt's own, so that nothing of this machine's changes.
  rm -rf "$build/apt" "$packages"
  mkdir -p "$build/apt/lists/partial" "$build/apt/cache/archives/partial" "$packages"
  touch "$build/apt/status"
  arm_apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$build/apt" \
      -o Dir::State::lists="$build/apt/lists" -o Dir::State::status="$build/apt/status" \
      -o Dir::Cache="$build/apt/cache" "$@"
  }
  arm_apt update
  (cd "$build/apt" && arm_apt download libhwy-dev libhwy1 libopenblas-pthread-dev libopenblas0-pthread libgfortran5 \
    libfmt-dev libgtest-dev libgmock-dev nlohmann-json3-dev)
  for package in "$build"/apt/*.deb; do dpkg-deb -x "$package" "$packages"; done
  touch "$packages/complete"
fi

cmake -S tools/aarch64 -B "$build" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DFATHOM_PACKAGES="$packages"
cmake --build "$build"
libraries=/usr/lib/aarch64-linux-gnu
for processor in cortex-a76 cortex-a72; do
  echo "== $processor"
  qemu-aarch64 -cpu "$processor" -L /usr/aarch64-linux-gnu \
    -E LD_LIBRARY_PATH="$packages$libraries:$packages$libraries/openblas-pthread" \
    "$build/kernels_test" --gtest_brief=1 --gtest_filter="$filter"
done
