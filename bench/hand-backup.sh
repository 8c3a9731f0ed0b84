#!/usr/bin/env bash
# The peer of the throughput benchmark: what a careful person writes by hand. Each database by sqlite3's `.backup`,
# every other file by `cp -a`, and a manifest by sha256sum. No integrity check, no lock over all databases, no fsync.
# usage: hand-backup.sh SOURCE TARGET
set -euo pipefail
source=$(realpath "$1")
mkdir -p "$2"
target=$(realpath "$2")
cd "$source"
find . -type f -name '*.db' -printf '%P\0' | while IFS= read -r -d '' database; do
  mkdir -p "$target/$(dirname "$database")"
  sqlite3 "$database" ".backup '$target/$database'"
done
find . -type f ! -name '*.db' ! -name '*.db-wal' ! -name '*.db-shm' ! -name '*.db-journal' -print0 |
  xargs -0 cp -a --parents -t "$target"
cd "$target"
find . -type f ! -name MANIFEST.sha256 -print0 | sort -z | xargs -0 sha256sum >MANIFEST.sha256
