#!/usr/bin/env bash
# recorded.sh RECORDS NAME COMMAND…: writes this process down, then becomes COMMAND. See processes.sh.
set -euo pipefail
records=$1 name=$2
shift 2
# Not $$, which is 1 in a new PID namespace. /proc is still the machine's and has the process id that the host sees.
line=$(</proc/self/stat)
read -ra fields <<<"${line##*) }"
echo "${line%% *} ${fields[19]} $name" >>"$records"
exec "$@"
