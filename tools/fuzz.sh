#!/usr/bin/env bash
# Fuzzes each decoder from its corpus for SECONDS. Usage: tools/fuzz.sh [SECONDS]
# What breaks one is written to build/fuzz/ and belongs into the corpus once it is mended.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}

cmake --preset fuzz >/dev/null
targets=(wire_fuzz_method wire_fuzz_content_header wire_fuzz_table wire_fuzz_frames)
ninja -C build/fuzz "${targets[@]}"
for target in "${targets[@]}"; do
  found=build/fuzz/corpus/$target
  mkdir -p "$found"
  build/fuzz/bin/"$target" -max_total_time="$seconds" -artifact_prefix=build/fuzz/ -print_final_stats=1 \
    "$found" "libs/wire/fuzz/corpus/${target#wire_fuzz_}"
done
