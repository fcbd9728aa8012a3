#!/usr/bin/env bash
# Configures and builds one preset. Usage: tools/build.sh PRESET run|test|unit
#   run   the two programs      test  everything      unit  the layers' unit tests only
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 what=$2

if [ "$preset" = release ]; then dir=build; else dir=build/$preset; fi
# Paths of the checkout stay out of the cache's keys, so a second clone finds what the first built.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

options=()
if [ "$what" != run ]; then
  options+=(-DPRONTO_TESTS=ON)
elif [ ! -e "$dir/CMakeCache.txt" ]; then
  options+=(-DPRONTO_TESTS=OFF)
fi
if [ "$what" != run ] || [ ! -e "$dir/build.ninja" ]; then
  log=$(mktemp)
  cmake --preset "$preset" "${options[@]}" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; exit 1; }
  rm -f "$log"
fi

case $what in
  run) targets=(pronto pizzeria) ;;
  test) targets=(all) ;;
  unit) targets=(unit_tests) ;;
esac
if [ -t 2 ]; then
  ninja -C "$dir" "${targets[@]}" >&2
else
  # Away from a terminal: what went wrong, whole; otherwise a line.
  log=$(mktemp)
  if ! ninja -C "$dir" "${targets[@]}" >"$log" 2>&1; then
    grep -vE '^\[[0-9]+/[0-9]+\]' "$log" >&2
    rm -f "$log"
    exit 1
  fi
  tail -n 1 "$log" >&2
  rm -f "$log"
fi
