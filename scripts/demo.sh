#!/usr/bin/env bash
# The demo on real programs: prints and runs each command. It leaves no process and no file behind, also on Ctrl-C. KEEP=1 leaves the stack
# running and prints how to go on.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=lib.sh
source scripts/lib.sh
target=$(cargo_target)
bin=${BKV_BIN_DIR:-$target/release}
export PATH="$bin:$PATH"
sources=$PWD

work=$(mktemp -d "${TMPDIR:-/tmp}/bkv-demo.XXXXXX")
chmod 755 "$work" # the database runs as another user and must reach its folder
stack=$work/stack
s3='' # the S3 server's process
colours

cleanup() {
  local code=$?
  trap - EXIT INT TERM
  if [ "${KEEP:-}" = 1 ] && [ "$code" -eq 0 ]; then
    cat <<EOF

The stack is up. To go on:
  export PATH=$bin:\$PATH BKV_FLEET=$stack/fleet.toml
  bkv dev status --dir $stack
  bkv dev token bob --dir $stack --out bob.token
  bkv register --token bob.token --state bob.state
  bkv dev down --dir $stack && rm -rf $work
EOF
    exit 0
  fi
  [ -z "$s3" ] || kill "$s3" 2>/dev/null || true
  bkv dev down --dir "$stack" >/dev/null 2>&1 || true
  rm -rf "$work"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

started=$SECONDS
shown=()
chapter() { printf '\n%s── %s%s\n' "$bold" "$1" "$off"; }
# Prints and runs one line of shell. A user can type the same line in the same folder.
run() { printf '%s$ %s%s\n' "$dim" "$1" "$off"; eval "$1"; }
# Runs a command that must fail with this exit code, because the demo also shows refusals.
refuse() {
  local want=$1 got=0
  printf '%s$ %s%s\n' "$dim" "$2" "$off"
  eval "$2" || got=$?
  if [ "$got" -ne "$want" ]; then
    echo "expected exit code $want, got $got" >&2
    exit 1
  fi
  printf '%s(exit code %s, as expected)%s\n' "$dim" "$got" "$off"
}
show() { shown+=("$1"); printf '%s✓ %s%s\n' "$green" "$1" "$off"; }

cd "$work"
chapter 'From here on you can type the commands yourself'
run "cd $work"
run "export PATH=$bin:\$PATH"
run "export BKV_FLEET=$stack/fleet.toml"
run 'umask 077'
run "printf '%s' 'quiet otter paints the north window' > right"
run "printf '%s' 'noisy otter paints the north window' > wrong"
run 'umask 022'

chapter 'A fleet of three regions, ChatD and Postgres on this machine'
run 'bkv dev up --dir stack'
run 'bkv dev status --dir stack'
show 'three regions, each with its own HSM token, agreed by Raft'

chapter 'Alice registers under a password'
run 'bkv dev token alice --dir stack --out alice.token'
run 'bkv register --token alice.token --state phone --password-file right'
show 'the vault holds a random key under a password that no region alone can test'

chapter "She backs up this project's sources and a file of 256 MiB into a folder in place of a cloud drive"
run 'mkdir cloud original'
run "(cd $sources && git ls-files -z | tar --null -T - -cf -) | tar -xf - -C original"
run 'head -c 256M /dev/urandom > original/film.bin'
run 'bkv backup original --to cloud --token alice.token --state phone'
show 'a directory went into the cloud folder, encrypted as it was read'

chapter 'A day later: one file is new, one is changed, one is gone'
run "printf 'a poem that she will miss\n' > original/poem.txt"
run "printf 'the end\n' >> original/README.md"
run 'rm original/Makefile'
run 'bkv backup original --to cloud --token alice.token --state phone'
run 'bkv backups cloud --token alice.token --state phone'
run 'bkv diff cloud 1 latest --token alice.token --state phone'
run '(cd original && find . -type f -print0 | sort -z | xargs -0 sha256sum) > before.sums'
show 'the second backup stored what had changed, and both days are there'

chapter 'Phone and files are gone'
run 'rm -rf original phone'

chapter 'A new phone, with nothing but the account token and the password'
run 'bkv restore cloud --to restored --token alice.token --state new-phone --password-file right'
run '(cd restored && find . -type f -print0 | sort -z | xargs -0 sha256sum) > after.sums'
run 'cmp before.sums after.sums'
show 'everything lost, everything restored, byte by byte'
run 'bkv find cloud Makefile --token alice.token --state new-phone'
run 'bkv restore cloud --generation 1 --include /Makefile --to first-day --token alice.token --state new-phone'
run "cmp first-day/Makefile $sources/Makefile"
run 'bkv verify cloud --token alice.token --state new-phone'
show 'the file that was gone on the second day comes back from the first, by the key that the new phone now has'

chapter 'Straight to an S3 server, without a folder in between'
if versitygw=$("$sources/tests/servers/versitygw/build.sh"); then
  port=$((20000 + RANDOM % 10000))
  run 'mkdir -p server/backups objects'
  run "printf '[default]\naws_access_key_id = demo\naws_secret_access_key = demo-secret\n' > keys"
  printf '%s$ %s%s\n' "$dim" "ROOT_ACCESS_KEY=demo ROOT_SECRET_KEY=demo-secret versitygw --port 127.0.0.1:$port --keep-alive --quiet posix --sidecar $work/objects $work/server &" "$off"
  ROOT_ACCESS_KEY=demo ROOT_SECRET_KEY=demo-secret "$versitygw" --port "127.0.0.1:$port" --keep-alive --quiet posix --sidecar "$work/objects" "$work/server" >/dev/null 2>&1 &
  s3=$!
  for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
  run "bkv backup restored --to s3://backups/alice --endpoint http://127.0.0.1:$port --credentials keys --token alice.token --state new-phone"
  run "bkv restore s3://backups/alice --to from-s3 --endpoint http://127.0.0.1:$port --credentials keys --token alice.token --state new-phone"
  run '(cd from-s3 && find . -type f -print0 | sort -z | xargs -0 sha256sum) > s3.sums'
  run 'cmp before.sums s3.sums'
  run 'rm -rf from-s3'
  kill "$s3" && s3=''
  show 'an S3 server holds the backups, encrypted as they were read'
else
  echo '(left out: the S3 server is built with Go)'
fi

chapter 'A region dies (kill -9); the password still works'
run 'bkv dev region kill eu-west --dir stack'
run 'rm -rf restored new-phone'
run 'bkv restore cloud --to restored --token alice.token --state new-phone --password-file right'
run '(cd restored && find . -type f -print0 | sort -z | xargs -0 sha256sum) > after.sums'
run 'cmp before.sums after.sums'
run 'bkv dev region start eu-west --dir stack'
show 'two of three regions are enough'

chapter 'Wrong passwords count down; the number of tries left is signed by the vaults'
for _ in 1 2; do refuse 10 'bkv recover --token alice.token --state other-phone --password-file wrong'; done
run 'bkv status --token alice.token --state other-phone'
run 'bkv recover --token alice.token --state other-phone --password-file right'
show 'wrong passwords are counted, the right one resets the count'

chapter 'Mallory guesses until the key is destroyed'
run 'bkv dev token mallory --dir stack --out mallory.token'
run 'bkv register --token mallory.token --state mallory --password-file right'
for _ in 1 2 3 4 5 6 7 8 9; do refuse 10 'bkv recover --token mallory.token --state thief --password-file wrong'; done
refuse 12 'bkv recover --yes --token mallory.token --state thief --password-file wrong'
refuse 12 'bkv recover --token mallory.token --state thief --password-file right'
show 'after ten wrong guesses even the right password is refused, for good'

chapter 'Sixty-four digits instead of a password: no vault is involved'
run 'bkv key new --state digits'
run 'bkv key show --state digits --plain > digits.key'
run 'bkv dev region kill eu-west --dir stack'
run 'bkv dev region kill us-east --dir stack'
run 'bkv dev region kill ap-south --dir stack'
run 'mkdir cloud2'
run 'bkv backup restored/docs --to cloud2 --state digits'
run 'rm -rf digits'
run 'bkv key enter --state digits2 --key-file digits.key'
run 'bkv restore cloud2 --to restored2 --state digits2'
run 'diff -r restored/docs restored2'
show 'the 64-digit key backs up and restores with every vault stopped'

chapter 'What was shown'
for line in "${shown[@]}"; do printf '  ✓ %s\n' "$line"; done
printf '\n  in %s s\n' "$((SECONDS - started))"
if [ "${KEEP:-}" = 1 ]; then
  for r in eu-west us-east ap-south; do bkv dev region start "$r" --dir "$stack" >/dev/null; done
fi
