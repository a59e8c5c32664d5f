#!/usr/bin/env bash
# Prints the path of a promtool: $PROMTOOL, the one on the PATH, or Debian's, unpacked into the cache. Debian's package is not installed, because
# installing it would start a Prometheus.
set -euo pipefail
if [ -n "${PROMTOOL:-}" ]; then echo "$PROMTOOL"; exit; fi
if command -v promtool; then exit; fi

cache="${BKV_CACHE:-$HOME/.cache/bkv}/promtool"
if ! [ -x "$cache/promtool" ]; then
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "promtool is missing, and this is no Debian: install Prometheus' promtool, or name one in \$PROMTOOL" >&2
    exit 69
  fi
  echo "Fetching promtool: Debian's package prometheus, unpacked into $cache, not installed" >&2
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/unpack.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if ! (cd "$work" && apt-get download -qq prometheus) >"$work/log" 2>&1; then
    cat "$work/log" >&2
    echo "prometheus can't be downloaded: are apt's lists there? (apt-get update)" >&2
    exit 69
  fi
  dpkg -x "$work"/prometheus_*.deb "$work/root"
  # Renamed into place, so that a second run beside this one never sees half of it.
  mv -f "$work/root/usr/bin/promtool" "$cache/promtool"
fi
echo "$cache/promtool"
