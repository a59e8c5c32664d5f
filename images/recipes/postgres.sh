# shellcheck shell=bash
# A small Postgres for metadata. Left out: the LLVM compiler for queries, extensions other than plpgsql, Perl, manuals, and locales but C.UTF-8.
# initdb runs programs by /bin/sh, so this image has a shell.
major=15
packages=(postgresql-15 postgresql-client-15 dash libc-bin tzdata coreutils
  libc6 libgcc-s1 gcc-12-base libstdc++6 libssl3 libicu72 libxml2 liblzma5 zlib1g libzstd1 liblz4-1 libpam0g libaudit1 libcap-ng0 libcap2
  libsystemd0 libgcrypt20 libgpg-error0 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libldap-2.5-0
  libsasl2-2 libgnutls30 libnettle8 libhogweed6 libgmp10 libidn2-0 libunistring2 libtasn1-6 libp11-kit0 libffi8 libpq5
  libselinux1 libpcre2-8-0 libacl1 libattr1)
entrypoint=/usr/bin/bkv-postgres
# Fast shutdown: on SIGTERM the server would wait for its clients to leave until it is killed.
options=(--stop-signal SIGINT --env PGDATA=/var/lib/postgresql/data/pgdata --env LANG=C.UTF-8 --env HOME=/tmp
  --env "PATH=/usr/lib/postgresql/$major/bin:/usr/bin")

fill() {
  local lib=/usr/lib/postgresql/$major/lib share=/usr/share/postgresql/$major loaded=() name
  for name in postgres initdb pg_isready; do loaded+=("/usr/lib/postgresql/$major/bin/$name"); done
  for name in dash locale mkdir mv rm chmod stat; do loaded+=("/usr/bin/$name"); done
  # The server's own modules: conversions of encodings, text search, replication, its language.
  for name in "$tree$lib"/{*_and_*,latin*,dict_snowball,plpgsql,pgoutput,libpqwalreceiver}.so; do
    [ -e "$name" ] && loaded+=("${name#"$tree"}")
  done
  root_take "${loaded[@]}"
  ln -s dash "$root/usr/bin/sh"
  libraries_close "${loaded[@]}"
  root_take "$share"/{postgres.bki,errcodes.txt,sql_features.txt,information_schema.sql,snowball_create.sql} \
    "$share"/{system_constraints,system_functions,system_views}.sql "$share"/{postgresql,pg_hba,pg_ident}.conf.sample \
    "$share"/{timezonesets,tsearch_data}
  for name in "$tree$share"/extension/plpgsql*; do root_take "${name#"$tree"}"; done
  root_take /usr/lib/locale/C.utf8
  # Times are kept in UTC.
  root_take /usr/share/zoneinfo/{UTC,Etc/UTC,GMT}
  install -D -m 755 "$images/postgres/bkv-postgres" "$root/usr/bin/bkv-postgres"
  install -D -m 644 -t "$root/usr/share/bkv-postgres" "$images"/postgres/*.conf
}
