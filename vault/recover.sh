#!/bin/sh
# Restores backups of a holdfast vault without holdfast: sh, coreutils, age, zstd and jq are all that it needs.
#
#   recover.sh VAULT_DIRECTORY list
#   recover.sh VAULT_DIRECTORY show STORE
#   recover.sh -i IDENTITY_FILE VAULT_DIRECTORY restore STORE [NUMBER|latest] TARGET_DIRECTORY
#
# IDENTITY_FILE is what age -i takes: the identity of a person to whom the vault key is sealed. What is restored lies in
# TARGET_DIRECTORY/<root>/<path>; the directory must be empty or absent. Each pack is checked against its name, each file
# against its sha256. Whatever is wrong is named; then nothing is moved into place, and what is sound lies in
# TARGET_DIRECTORY/incomplete-…, from which everything that is harmed was removed.
#
# Not checked here: signatures. Whoever may write to the vault may put backups into it that nobody made; `holdfast verify`
# sees that. Not restored: extended attributes, and owners unless it is run by root. It says so.
#
# Exit status: 0 restored; 1 something is wrong, and nothing was moved into place; 2 usage; 3 restored, but for some
# owners, modes or times.
#
# coreutils: chmod chown dd id ls mkdir mktemp mv rm sha256sum sort sync tac touch
# The format: docs/vault-format.md of holdfast, "Vault format 1".
set -eu
LC_ALL=C
export LC_ALL
unset CDPATH
umask 077

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "recover.sh: $*"
  exit 1
}
usage() {
  say 'usage: recover.sh [-i IDENTITY_FILE] VAULT_DIRECTORY list'
  say '       recover.sh [-i IDENTITY_FILE] VAULT_DIRECTORY show STORE'
  say '       recover.sh -i IDENTITY_FILE VAULT_DIRECTORY restore STORE [NUMBER|latest] TARGET_DIRECTORY'
  exit 2
}

# The absolute path of a directory, in $absolute: command substitution alone would drop newlines at its end
absolute_of() {
  case $1 in
    /*) absolute=$1 ;;
    *) absolute=./$1 ;;
  esac
  absolute=$(cd "$absolute" && pwd -P && printf x) || fail "$1 is no directory that can be read"
  absolute=${absolute%?x}
}

# The sha256 of a file, in $sum
sum_of() {
  sum=$(sha256sum <"$1") || fail "$1 can't be read"
  sum=${sum%% *}
}

# --- what jq is told ---------------------------------------------------------------------------------------------------

# Numbers as integers that are exact, names that stay inside their root
jq_common='
  def whole: type == "number" and . == floor and . >= 0 and . <= 9007199254740991;
  def hex: type == "string" and length == 64 and (explode | all((. >= 48 and . <= 57) or (. >= 97 and . <= 102)));
  def inside: type == "string" and length > 0 and (explode | all(. != 0))
    and (split("/") | all(. != "" and . != "." and . != ".."));
  def name: if .path == "." then "./" + .root else "./" + .root + "/" + .path end;
  def entry: .directory // .file;
  def pad: tostring | "0000000000000000"[length:] + .;
  def harmed($bad): .runs | any($bad[.[0] | tostring] == true);
'

# Of an envelope: that it is the one of its place, and that its digests may become names
jq_envelope='
  if .format != "holdfast-envelope-1" then error("a format that this script does not know") else . end
  | if .store != $store or .number != $number then error("it is the envelope of another backup") else . end
  | if (.manifest.sha256 | hex) and (.manifest.sizeBytes | whole) and (.packs | all((.sha256 | hex) and (.sizeBytes | whole)))
      and (.backupId | type == "string" and (explode | all(. == 45 or (. >= 48 and . <= 57) or (. >= 97 and . <= 122))))
    then . else error("it is malformed") end
'

# Of a whole manifest: order, names, sizes; prints what is in it
jq_check='
  ($envelope[0]) as $e
  | def bad($why): error("the manifest is not what the format says: " + $why);
    def entered($p; $is_directory):
      if ($p.root | inside and (contains("/") | not)) and ($p.path == "." or ($p.path | inside)) then . else bad("an unsafe name") end
      | if $p.path == "." and ($is_directory | not) then bad("a root is no directory") else . end
      | [$p.root, $p.path != ".", $p.path] as $key
      | if .last == null or .last < $key then . else bad("its names are not in order") end
      | .last = $key
      | if ($p.mode | whole) and $p.mode <= 4095 and ($p.uid | whole) and ($p.gid | whole)
          and ($p.mtimeNanos | type == "string" and (ltrimstr("-") | length > 0 and (explode | all(. >= 48 and . <= 57))))
        then . else bad("malformed metadata") end
      | if $p.xattrs == null then . else .xattrs += 1 end;
    reduce inputs as $l (
      {lines: 0, ended: false, last: null, directories: 0, files: 0, databases: 0, bytes: 0, xattrs: 0};
      if .ended or ($l | type != "object" or length != 1) or ((.lines == 0) != ($l | has("backup"))) then bad("line \(.lines + 1)") else . end
      | if $l.backup then
          if $l.backup.format == "holdfast-manifest-2" then . else bad("a format that this script does not know") end
          | if [$l.backup | .store, .number, .backupId] == [$e | .store, .number, .backupId] then . else bad("it is of another backup") end
        elif $l.database then .databases += 1
        elif $l.directory then entered($l.directory; true) | .directories += 1
        elif $l.file then
          entered($l.file; false)
          | if ($l.file.sha256 | hex) and ($l.file.runs | type == "array"
              and all(type == "array" and length == 4 and all(whole) and .[0] < ($e.packs | length) and .[2] > 0 and .[3] > 0))
              and ([$l.file.runs[][3]] | add // 0) == $l.file.sizeBytes
            then . else bad("the runs of a file") end
          | .files += 1 | .bytes += $l.file.sizeBytes
        elif $l.end then if $l.end.lines == .lines then .ended = true else bad("lines are missing") end
        else bad("line \(.lines + 1)") end
      | .lines += 1)
  | if .ended then . else bad("its end is missing") end
  | "\(.files) \(.directories) \(.databases) \(.bytes) \(.xattrs)"
'

# Every run: pack, offset, length, size, where in which file
jq_runs='
  select(.file) | .file | name as $name
  | foreach .runs[] as $r (0; . + $r[3]; [($r[0] | pad), ($r[1] | pad), ($r[2] | pad), $r[3], . - $r[3], $name])
'

# Sorted runs into what is taken out of each pack, to be decompressed together, and then the pieces that are cut out of that
jq_parts='
  foreach (inputs, null) as $r (
    {number: 0, pack: null};
    .out = []
    | if $r != null and .pack == $r[0] and .run == $r[1:3] then .
      elif $r != null and .pack == $r[0] and .end == ($r[1] | tonumber) then
        .at += .size
      else
        if .pack == null then . else .out = [[.pack, 0, (.number | pad), .begin, .end - .begin]] end
        | if $r == null then . else
            .number += 1
            | .at = (if .pack == $r[0] then .at + .size else 0 end)
            | .pack = $r[0] | .begin = ($r[1] | tonumber)
          end
      end
    | if $r == null then . else
        .run = $r[1:3] | .end = ($r[1] | tonumber) + ($r[2] | tonumber) | .size = $r[3]
        | .out += [[.pack, 1, .at, $r[3], $r[4], $r[5]]]
      end;
    .out[])
'

jq_script='
  if .[1] == 0 then "frames \($envelope[0].packs[.[0] | tonumber].sha256) \(.[3]) \(.[4])"
  else "piece \(.[2]) \(.[3]) \(.[4]) \(.[5] | @sh)" end
'

# Commands with many names each: `command` is what they begin with, and changes from name to name
jq_batches='
  def batches(entries; command):
    foreach entries as $e (
      {count: 0, command: null};
      ($e | command) as $command
      | .first = (.command != $command or .count == 100)
      | .command = $command
      | .count = (if .first then 1 else .count + 1 end);
      (if .first then "\n" + .command + " --" else "" end) + " " + ($e | name | @sh)),
    "\n";
  def octal: [recurse(if . >= 8 then (. / 8 | floor) else empty end) % 8] | reverse | map(tostring) | "0" + add;
  def seconds: (if startswith("-") then "-" else "" end) as $sign
    | ltrimstr("-") | "0000000000"[length:] + . | "@" + $sign + .[:-9] + "." + .[-9:];
  def owner: "set_owner \(.uid):\(.gid)";
  def mode: "set_mode " + (.mode | octal);
  def time: "set_time " + (.mtimeNanos | seconds);
'

# --- list and show ---------------------------------------------------------------------------------------------------

# Directories of backups that exist, oldest first, as arguments of $1
each_backup() {
  for directory in "$vault/backups/$store"/[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]; do
    if [ -f "$directory/envelope.json" ]; then "$1" "$directory"; fi
  done
}
note_newest() {
  newest=$1
  backups=$((backups + 1))
}

# The envelope of a directory, checked, is put into $envelope
read_envelope() {
  number=${1##*/}
  while [ "${number#0}" != "$number" ]; do number=${number#0}; done
  envelope=$(jq -c --arg store "$store" --argjson number "${number:-0}" "$jq_common $jq_envelope" "$1/envelope.json") ||
    fail "$1/envelope.json can't be used"
}

show_backup() {
  read_envelope "$1"
  missing=0
  packs=$(printf '%s\n' "$envelope" | jq -r '.packs[].sha256')
  for sha256 in $packs; do
    if [ ! -f "$vault/packs/${sha256%"${sha256#??}"}/$sha256.age" ]; then missing=$((missing + 1)); fi
  done
  printf '%s\n' "$envelope" | jq -r --argjson missing "$missing" '
    "\(.number)  \(.createdAt | tojson)  host \(.host | tojson)  \(.totals.files) files, \(.totals.databases) databases, \(.totals.sizeBytes) bytes"
    + (if $missing > 0 then ", \($missing) OF \(.packs | length) PACKS ARE MISSING" else "" end)'
}

list_stores() {
  for directory in "$vault"/backups/*; do
    [ -d "$directory" ] || continue
    store=${directory##*/}
    newest='' backups=0
    each_backup note_newest
    [ "$backups" -gt 0 ] || continue
    read_envelope "$newest"
    printf '%s\n' "$envelope" | jq -r --argjson backups "$backups" \
      '"\(.store | tojson)  \($backups) backups, the newest is \(.number) of \(.createdAt | tojson)"'
  done
}

# --- restore ---------------------------------------------------------------------------------------------------------

# Identities of all vault keys that the person can open: a pack may be sealed to an older one. Never on a disk
open_keys() {
  keys=''
  for file in "$vault"/keys/*.age; do
    [ -f "$file" ] || fail "$vault has no vault key"
    if key=$(age -d -i "$identity" "$file"); then
      keys="$keys$key
"
    else
      say "recover.sh: $file does not open with $identity"
    fi
  done
  [ -n "$keys" ] || fail "no vault key opens with $identity"
}

# Decrypts $1 into $2
decrypt() { printf '%s' "$keys" | age -d -i - "$1" >"$2"; }

read_manifest() {
  manifest=$1/$(printf '%s\n' "$envelope" | jq -r .backupId).manifest.age
  [ -f "$manifest" ] || fail "$manifest is missing"
  sum_of "$manifest"
  [ "$sum" = "$(printf '%s\n' "$envelope" | jq -r .manifest.sha256)" ] || fail "$manifest is damaged: its sha256 is $sum"
  decrypt "$manifest" "$tmp/manifest.zst" || fail "$manifest can't be decrypted"
  zstd -dcq <"$tmp/manifest.zst" >"$tmp/manifest" || fail "$manifest can't be decompressed"
  printf '%s\n' "$envelope" >"$tmp/envelope"
  facts=$(jq -nr --slurpfile envelope "$tmp/envelope" "$jq_common $jq_check" "$tmp/manifest") ||
    fail "$manifest can't be used"
  read -r files directories databases bytes xattrs <<FACTS
$facts
FACTS
}

damage() {
  usable=0
  say "recover.sh: DAMAGED: pack $pack: $*"
  printf '"%s"\n' "$pack" >>"$tmp/damaged"
}

# Called by the script that jq makes. Frames: pack, offset, length. Gathered in $tmp/frames until a piece is asked for
frames() {
  if [ "$1" != "$pack" ]; then
    pack=$1 is_plain=0
    : >"$tmp/frames"
    open_pack "$vault/packs/${pack%"${pack#??}"}/$pack.age"
  fi
  if [ "$usable" = 1 ] && ! take "$2" "$3" >>"$tmp/frames"; then
    if take "$2" "$3" >/dev/null; then fail "can't write to $target"; fi
    damage "it has nothing from $2 on"
  fi
}
take() { dd if="$tmp/pack" bs=131072 iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none; }

open_pack() {
  usable=1
  if [ ! -f "$1" ]; then
    damage 'it is missing'
    return 0
  fi
  sum_of "$1"
  if [ "$sum" != "$pack" ]; then
    damage "its sha256 is $sum"
  elif ! decrypt "$1" "$tmp/pack"; then
    if decrypt "$1" /dev/null; then fail "can't write to $target"; fi
    damage "it can't be decrypted"
  fi
}

# Called by the script that jq makes. A piece: where in what the frames decompress to, how long, where in the file, the file
piece() {
  if [ "$usable" = 1 ] && [ "$is_plain" = 0 ]; then decompress; fi
  if [ "$usable" = 1 ]; then
    dd if="$tmp/plain" bs=131072 iflag=skip_bytes,count_bytes oflag=seek_bytes conv=notrunc status=none \
      skip="$1" count="$2" seek="$3" 1<>"$4" || fail "can't write to $target"
  fi
}
decompress() {
  is_plain=1
  if ! zstd -dcq <"$tmp/frames" >"$tmp/plain"; then
    if zstd -dcq <"$tmp/frames" >/dev/null; then fail "can't write to $target"; fi
    damage "its frames can't be decompressed"
  fi
}

# Called by scripts that jq makes, each with what it is, --, and names
set_owner() { change chown "$@"; }
set_mode() { change chmod "$@"; }
set_time() { change touch -c -d "$@"; }
change() { "$@" || metadata_failed=1; }

# Of a name that sha256sum would write in a way of its own: digest, file, name to show
check_odd() {
  if [ -f "$2" ] && sum_of "$2" && [ "$sum" = "$1" ]; then return 0; fi
  say "$3: FAILED"
  mismatched=1
}

# Makes a script of manifest lines: jq's program, then the lines' file
script() { jq -nj "$jq_common $jq_batches $1" "$2" >"$tmp/script" || fail 'jq failed'; }

restore_data() {
  script 'batches(inputs | select(.directory) | .directory; "mkdir")' "$tmp/manifest"
  . "$tmp/script"
  script 'batches(inputs | select(.file) | .file | select(.runs == []); "touch")' "$tmp/manifest"
  . "$tmp/script"
  jq -c "$jq_common $jq_runs" "$tmp/manifest" >"$tmp/runs" || fail 'jq failed'
  sort -T "$tmp" "$tmp/runs" >"$tmp/sorted"
  jq -nc "$jq_common $jq_parts" "$tmp/sorted" >"$tmp/runs" || fail 'jq failed'
  sort -T "$tmp" "$tmp/runs" >"$tmp/sorted"
  jq -r --slurpfile envelope "$tmp/envelope" "$jq_script" "$tmp/sorted" >"$tmp/script" || fail 'jq failed'
  rm -f "$tmp/runs" "$tmp/sorted"
  pack='' usable=0 is_plain=0
  : >"$tmp/damaged"
  . "$tmp/script"
  rm -f "$tmp/pack" "$tmp/frames" "$tmp/plain"
}

# What damaged packs harm is named and removed; $bad has their indices for jq
drop_harmed() {
  bad=$(jq -nc --slurpfile envelope "$tmp/envelope" --slurpfile damaged "$tmp/damaged" '
    ($damaged | map({(.): true}) | add // {}) as $names
    | [$envelope[0].packs | to_entries[] | select($names[.value.sha256]) | {(.key | tostring): true}] | add // {}')
  if [ -s "$tmp/damaged" ]; then
    jq -r --argjson bad "$bad" "$jq_common"'
      select(.file) | .file | select(harmed($bad)) | "recover.sh: HARMED: " + (name | .[2:] | tojson)' "$tmp/manifest" >&2
    jq -nj --argjson bad "$bad" "$jq_common $jq_batches"'
      batches(inputs | select(.file) | .file | select(harmed($bad)); "rm -f")' "$tmp/manifest" >"$tmp/script"
    . "$tmp/script"
  fi
}

check_sums() {
  mismatched=0
  odd='explode | any(. < 32 or . == 92 or . == 127)'
  jq -r --argjson bad "$bad" "$jq_common"'
    select(.file) | .file | select(harmed($bad) | not) | select(name | '"$odd"' | not) | "\(.sha256)  \(name)"' \
    "$tmp/manifest" >"$tmp/sums"
  if [ -s "$tmp/sums" ]; then sha256sum --check --quiet --strict "$tmp/sums" >&2 || mismatched=1; fi
  jq -r --argjson bad "$bad" "$jq_common"'
    select(.file) | .file | select(harmed($bad) | not) | select(name | '"$odd"')
    | "check_odd \(.sha256) \(name | @sh) \(name | tojson | @sh)"' "$tmp/manifest" >"$tmp/script"
  . "$tmp/script"
}

# Owners first, for a change of owner drops set-id; directories from the deepest up, for a mode may close them
restore_metadata() {
  metadata_failed=0
  jq -c 'select(.directory) | .directory | select(.path != ".")' "$tmp/manifest" >"$tmp/forward"
  tac "$tmp/forward" >"$tmp/deepest"
  jq -c 'select(.directory) | .directory | select(.path == ".")' "$tmp/manifest" >"$tmp/roots"
  jq -c 'select(.file) | .file' "$tmp/manifest" >"$tmp/files"
  for part in files deepest; do apply_metadata "$tmp/$part"; done
  cd "$target"
  script 'batches(inputs; "into_place")' "$tmp/roots"
  . "$tmp/script"
  apply_metadata "$tmp/roots"
}
into_place() {
  shift
  for root in "$@"; do mv -- "$work/$root" . || fail "can't move $root into place"; done
}
apply_metadata() {
  if [ "$(id -u)" = 0 ]; then
    script 'batches(inputs; owner)' "$1"
    . "$tmp/script"
  fi
  script 'batches(inputs; time)' "$1"
  . "$tmp/script"
  script 'batches(inputs; mode)' "$1"
  . "$tmp/script"
}

leave() {
  status=$?
  trap - EXIT
  if [ -n "$tmp" ]; then rm -rf "$tmp"; fi
  if [ "$status" != 0 ] && [ "$status" != 3 ] && [ -n "$work" ] && [ -d "$work" ]; then
    say "recover.sh: NOT RESTORED. What is sound, as far as it got, lies in $work"
  fi
  exit "$status"
}

restore() {
  target=$1
  directory=''
  each_backup choose
  [ -n "$directory_chosen" ] || fail "$vault has no backup $wanted of store $store"
  read_envelope "$directory_chosen"
  open_keys
  case $target in
    /*) ;;
    *) target=./$target ;;
  esac
  mkdir -p "$target" || fail "can't make $target"
  absolute_of "$target"
  target=$absolute
  [ -z "$(ls -A "$target")" ] || fail "$target is not empty"
  tmp='' work=''
  trap leave EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
  tmp=$(mktemp -d "$target/tmp-XXXXXXXX")
  read_manifest "$directory_chosen"
  work=$(mktemp -d "$target/incomplete-XXXXXXXX")
  cd "$work"
  restore_data
  drop_harmed
  check_sums
  if [ -s "$tmp/damaged" ] || [ "$mismatched" = 1 ]; then fail "backup $number of store $store is damaged"; fi
  restore_metadata
  rm -rf "$work"
  sync
  say "restored backup $number of store $store into $target: $files files ($databases databases), $directories directories, $bytes bytes; the sha256 of each file is that of the manifest"
  say 'not checked: signatures'
  if [ "$xattrs" -gt 0 ]; then say "not restored: extended attributes of $xattrs files and directories"; fi
  if [ "$(id -u)" != 0 ]; then say 'not restored: owners, because it was not run by root'; fi
  if [ "$metadata_failed" = 1 ]; then
    say 'not restored: the owners, modes or times that are named above'
    exit 3
  fi
}
choose() {
  if [ "$wanted" = latest ] || [ "${1##*/}" = "$wanted" ]; then directory_chosen=$1; fi
}

# --- what is asked for -----------------------------------------------------------------------------------------------

identity=''
while getopts i: option; do
  case $option in
    i) identity=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || usage
absolute_of "$1"
vault=$absolute
action=$2
shift 2
for program in age zstd jq; do command -v "$program" >/dev/null || fail "$program is not on PATH"; done
if [ "$(jq -r .format "$vault/vault.json")" != holdfast-vault-1 ]; then fail "$vault is no vault of format 1"; fi
if [ "$action" != list ]; then
  [ $# -ge 1 ] || usage
  store=$1
  shift
  case $store in '' | .* | */*) fail "$store is no name of a store" ;; esac
  [ -d "$vault/backups/$store" ] || fail "$vault has no store $store"
fi
case $action in
  list)
    [ $# -eq 0 ] || usage
    list_stores
    ;;
  show)
    [ $# -eq 0 ] || usage
    each_backup show_backup
    ;;
  restore)
    wanted=latest
    if [ $# -eq 2 ]; then
      wanted=$1
      shift
    fi
    [ $# -eq 1 ] || usage
    [ -n "$identity" ] || usage
    case $wanted in
      latest) ;;
      *[!0-9]* | '' | 0*) fail "$wanted is no number of a backup" ;;
      *) wanted=$(printf '%016d' "$wanted") ;;
    esac
    directory_chosen=''
    restore "$1"
    ;;
  *) usage ;;
esac
