#!/usr/bin/env bash
# recorded.sh RECORDS NAME COMMAND…: writes this process down, then becomes COMMAND. See processes.sh.
set -euo pipefail
records=$1 name=$2
shift 2
# Not $$: in a PID namespace of its own it is 1, but /proc is still the machine's and knows the number that others see.
line=$(</proc/self/stat)
read -ra fields <<<"${line##*) }"
echo "${line%% *} ${fields[19]} $name" >>"$records"
exec "$@"
