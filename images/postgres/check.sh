#!/usr/bin/env bash
# The Postgres image's root, run as its user in a chroot with a scratch volume: the first start, later ones, crashes, and what must be refused.
# Called by images/check.sh with the unpacked root; needs psql and openssl.
set -euo pipefail
root=$(realpath "$1")
user=65532
port=$((20000 + RANDOM % 20000))
data=$root/var/lib/postgresql/data run=$root/run/postgresql etc=$root/etc/bkv-postgres tls=$root/etc/bkv-postgres-tls
server='' launcher='' chroot=$(command -v chroot)
cleanup() { if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; wait "$launcher" 2>/dev/null || true; fi; }
trap cleanup EXIT

install -d -o $user -g $user "$data" "$run"
install -d "$etc" "$tls" "$root/dev"
install -d -m 1777 "$root/dev/shm"
[ -e "$root/dev/null" ] || mknod -m 666 "$root/dev/null" c 1 3
new_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -addext subjectAltName=DNS:localhost \
    -keyout "$tls/tls.key" -out "$tls/tls.crt" 2>/dev/null
  # Like a Secret volume with fsGroup: owned by root and readable by the group.
  chown root:$user "$tls/tls.key" && chmod 440 "$tls/tls.key"
}
new_password() { printf '%s' "$1" >"$etc/password" && chown root:$user "$etc/password" && chmod 440 "$etc/password"; }
new_certificate first
new_password "it's \"a\" \\ test"

# in_root WRAPPER… -- [ARGUMENT…] : the entrypoint as the pod runs it, below a wrapper.
in_root() {
  local wrapper=()
  while [ "$1" != -- ]; do wrapper+=("$1"); shift; done
  shift
  "${wrapper[@]}" env -i PATH=/usr/lib/postgresql/15/bin:/usr/bin PGDATA=/var/lib/postgresql/data/pgdata LANG=C.UTF-8 HOME=/tmp PGPORT="$port" \
    BKV_POSTGRES_PASSWORD_FILE=/etc/bkv-postgres/password BKV_POSTGRES_TLS_DIR=/etc/bkv-postgres-tls \
    "$chroot" --userspec=$user:$user --groups=$user "$root" /usr/bin/bkv-postgres "$@"
}
pause() { read -rt "$1" <> <(:) || true; }
# In a process namespace of its own, where it is process 1 as in a pod: lock files name that number.
start() {
  local tries=0
  in_root unshare --pid --fork --kill-child -- -c "port=$port" >"$root/log" 2>&1 &
  launcher=$!
  # The launcher is a shell, or `unshare` itself; the server is the one below that has root for its root.
  until server=$(below "$launcher") && [ -n "$server" ] && ready; do
    kill -0 "$launcher" 2>/dev/null || { cat "$root/log" >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "not ready in 60 s" >&2; cat "$root/log" >&2; exit 1; }
    pause 0.2
  done
}
# below PID : its descendant that is process 1 of another namespace.
below() {
  local child
  # shellcheck disable=SC2013 # numbers on one line
  for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
    if [ "$(awk '/^NSpid:/{print NF ":" $NF}' "/proc/$child/status" 2>/dev/null)" = 3:1 ]; then echo "$child"; else below "$child"; fi
  done
}
ready() { in_root nsenter --pid --target "$server" -- ready; }
stop() { kill "-$1" "$server"; wait "$launcher" 2>/dev/null || true; server=''; }
sql() { # sql PASSWORD SSLMODE USER DATABASE STATEMENT
  PGPASSWORD=$1 psql -XAtq -v ON_ERROR_STOP=1 "host=127.0.0.1 port=$port sslmode=$2 user=$3 dbname=$4" -c "$5" 2>&1
}
ok() { echo "  ok  $1"; }
equal() { # equal WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || { echo "  NOT $1: expected '$2', got '$3'" >&2; exit 1; }
  ok "$1"
}
want() { # want WHAT PART ACTUAL
  case $3 in *"$2"*) ok "$1" ;; *) echo "  NOT $1: expected '$2', got '$3'" >&2; exit 1 ;; esac
}
refused() { # refused WHAT CODE MESSAGE
  local output code=0
  output=$(in_root unshare --pid --fork --kill-child -- -c "port=$port" 2>&1 </dev/null) || code=$?
  want "$1" "$3" "$output"
  [ "$code" -eq "$2" ] || { echo "  NOT $1: exit code $code instead of $2" >&2; exit 1; }
}
served() { openssl s_client -starttls postgres -connect "127.0.0.1:$port" </dev/null 2>/dev/null | openssl x509 -noout -subject; }
password="it's \"a\" \\ test"

start
equal "first start, password with quotes, TLS" 1 "$(sql "$password" require bkv bkv 'select 1')"
equal "TLS 1.3" TLSv1.3 "$(sql "$password" require bkv bkv 'select version from pg_stat_ssl where pid = pg_backend_pid()')"
want "no network without TLS" 'no encryption' "$(sql "$password" disable bkv bkv 'select 1' || true)"
want "a wrong password is refused" 'password authentication failed' "$(sql wrong require bkv bkv 'select 1' || true)"
want "no superuser over the network" 'no pg_hba.conf entry' "$(sql "$password" require postgres postgres 'select 1' || true)"
want "role bkv can't run programs" 'must be superuser' "$(sql "$password" require bkv bkv "copy (select 1) to program 'true'" || true)"
equal "encoding and locale" 'UTF8|C.UTF-8' "$(sql "$password" require bkv bkv "select pg_encoding_to_char(encoding), datcollate from pg_database where datname = 'bkv'")"
equal "a client may set UTC as its time zone" UTC "$(PGTZ=UTC sql "$password" require bkv bkv 'show timezone')"
sql "$password" require bkv bkv 'create table kept(x int); insert into kept values (7)' >/dev/null
if grep -q "it's" "$root/log"; then echo "  NOT the password is in no log" >&2; exit 1; fi
ok "the password is in no log"

new_certificate second
touch "$tls/tls.crt"
ready
for _ in $(seq 50); do case $(served) in *second*) break ;; esac; pause 0.1; done
want "the probe has a renewed certificate loaded" second "$(served)"
equal "data is still served" 7 "$(sql "$password" require bkv bkv 'select x from kept')"

stop KILL
# As fsGroup leaves a volume after it was mounted again.
chmod 2770 "$data/pgdata"
new_password other
start
equal "start after a crash and after fsGroup, with a new password" 7 "$(sql other require bkv bkv 'select x from kept')"
want "the old password is refused" 'password authentication failed' "$(sql "$password" require bkv bkv 'select 1' || true)"
stop INT
want "SIGINT stops it in order" 'database system is shut down' "$(cat "$root/log")"

echo 14 >"$data/pgdata/PG_VERSION"
refused "data of another version" 65 'is of Postgres 14, this image has 15'
echo 15 >"$data/pgdata/PG_VERSION"
chown 1234 "$data/pgdata"
refused "data of another user" 77 'belongs to user 1234'
chown $user "$data/pgdata"
mv "$data/pgdata" "$data/aside" && install -d -o $user "$data/pgdata" && touch "$data/pgdata/letter"
refused "a folder that is no database" 65 'no PG_VERSION'
[ -e "$data/pgdata/letter" ]
rm -r "$data/pgdata"
chown root "$data" && chmod 755 "$data"
refused "a volume that can't be written" 73 "can't write it"
chown $user "$data"
: >"$etc/password"
refused "an empty password" 64 'is empty'
rm "$etc/password"
refused "no password file" 66 'password is not there'
new_password other
mkdir -p "$data/pgdata.new/base" && chown -R $user "$data/pgdata.new"
start
equal "a first start that was cut off is begun anew" 1 "$(sql other require bkv bkv 'select 1')"
stop INT
