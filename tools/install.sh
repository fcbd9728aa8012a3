#!/usr/bin/env bash
# Installs what is missing from Debian's packages. Usage: tools/install.sh run|test
# Works as root or as a user with sudo; asks for nothing when everything is there.
set -euo pipefail
what=${1:-run}

packages=(
  clang-19 lld-19 libclang-rt-19-dev cmake ninja-build ccache pkg-config git
  libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev libssl-dev libsqlite3-dev
  libfmt-dev libspdlog-dev libcli11-dev libtomlplusplus-dev zlib1g-dev libmimalloc-dev
)
if [ "$what" = test ]; then
  packages+=(
    libgtest-dev libgmock-dev clang-format-19
    chromium rabbitmq-server python3 python3-pika procps
  )
fi
# Any node from 18 on will do, wherever it came from.
command -v node >/dev/null 2>&1 || packages+=(nodejs)
command -v npm >/dev/null 2>&1 || packages+=(npm)

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then as_root=(); else as_root=(sudo); fi
echo "installing from Debian: ${missing[*]}" >&2

# The servers that the tests start themselves must not be started by their packages: port 5672 is ours.
if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
  for service in rabbitmq-server; do
    case " ${missing[*]} " in *" $service "*) "${as_root[@]}" systemctl mask "$service" >/dev/null 2>&1 || true ;; esac
  done
fi
policy=/usr/sbin/policy-rc.d
placed=no
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  placed=yes
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2
}
install || { "${as_root[@]}" apt-get update -qq >&2; install; }
