#!/bin/sh
# Everything that must be green: lint, types, unit and system tests. The last line is "N passed, N failed"; lint and
# types count as one check each. Arguments are passed on to both test runs (for instance a part of a file name).
set -u
cd "$(dirname "$0")/.." || exit 1

passed_checks=0
unset expected
failed_checks=0
check() {
  name=$1
  shift
  echo "== $name"
  if "$@"; then
    passed_checks=$((passed_checks + 1))
  else
    echo "== $name failed" >&2
    failed_checks=$((failed_checks + 1))
  fi
}

if ! sh scripts/setup.sh --tools; then
  echo '0 passed, 1 failed'
  exit 1
fi

# Plain users of the tests open it; udev(7) makes it so, and a machine without udev need not have.
device_mode=$(stat -c %a /dev/fuse 2>/dev/null)
if [ "$device_mode" = 666 ] || ! chmod 666 /dev/fuse 2>/dev/null; then device_mode=; fi

reports=$(mktemp -d) || exit 1
beside=
clean_up() {
  [ -z "$beside" ] || kill "$beside" 2>/dev/null
  [ -z "$device_mode" ] || chmod "$device_mode" /dev/fuse
  rm -rf "$reports"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

{
  sh scripts/setup.sh --late-tools 2>"$reports/late-tools"
  : >"$reports/late-tools-done"
} &
late_tools=$!

check lint node_modules/.bin/biome check --error-on-warnings .
check types node_modules/.bin/tsc --noEmit -p .

# run_tests REPORT PROJECT ARGUMENTS…
run_tests() {
  report=$1 project=$2
  shift 2
  node_modules/.bin/vitest run --project "$project" --passWithNoTests=false \
    --reporter=default --reporter=json --outputFile.json="$reports/$report.json" "$@"
  echo $? >"$reports/$report.status"
}

# Files of system tests, by the beginning of their names, that make images and read them: all they share with others is
# the processor.
IMAGES='archive- commit convert encryption ext4- extract inspect making- other-writers pack puzzlefs sif
squashfs-matrix squashfs-writer tar- unpack'

# Files that run a second time, with the mounts of each test by a shared server.
SHARED='clones control host-layers layered reading status'

# Other system tests wait for mounts and processes most of the time, so the unit tests and the images run beside them.
# What these print comes afterwards, as a whole.
run_beside() {
  run_tests unit unit "$@" >"$reports/unit.out" 2>&1
  [ $# -eq 0 ] || return 0
  until [ -e "$reports/late-tools-done" ]; do sleep 1; done
  # shellcheck disable=SC2046
  run_tests images system $(printf 'test/system/%s ' $IMAGES) >"$reports/images.out" 2>&1
}
run_beside "$@" &
beside=$!
wait "$late_tools" || true
cat "$reports/late-tools" >&2
echo '== system tests'
if [ $# -eq 0 ]; then
  # shellcheck disable=SC2046
  run_tests system system $(printf -- '--exclude=test/system/%s* ' $IMAGES)
else
  run_tests system system "$@"
fi
wait "$beside"
beside=
if [ $# -eq 0 ]; then
  echo '== system tests with a shared server'
  # shellcheck disable=SC2046
  ATOMFS_SERVER=shared run_tests shared system $(printf 'test/system/%s.test.ts ' $SHARED)
fi
runs=
[ $# -gt 0 ] || expected='images shared'
for report in ${expected-} unit system; do
  # A run that ended without a status is a failed one.
  runs="$runs $report=$(cat "$reports/$report.status" 2>/dev/null || echo 1)=$reports/$report.json"
  [ -e "$reports/$report.out" ] || continue
  echo "== $report tests"
  cat "$reports/$report.out"
done

# shellcheck disable=SC2086
node scripts/tally.mjs "$failed_checks" "$passed_checks" $runs
