#!/bin/sh
# Everything that must be green: lint, types, unit and system tests. The last line is "N passed, N failed"; lint and
# types count as one check each. Arguments are passed on to both test runs (for instance a part of a file name).
set -u
cd "$(dirname "$0")/.." || exit 1

passed_checks=0
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

reports=$(mktemp -d) || exit 1
unit=
trap '[ -z "$unit" ] || kill "$unit" 2>/dev/null; rm -rf "$reports"' EXIT
trap 'exit 130' INT TERM

sh scripts/setup.sh --late-tools 2>"$reports/late-tools" &
late_tools=$!

check lint node_modules/.bin/biome check --error-on-warnings .
check types node_modules/.bin/tsc --noEmit -p .

run_tests() {
  project=$1
  shift
  node_modules/.bin/vitest run --project "$project" --passWithNoTests=false \
    --reporter=default --reporter=json --outputFile.json="$reports/$project.json" "$@"
}

# System tests wait for mounts and processes most of the time, so the unit tests run beside them. What these print
# comes afterwards, as a whole.
run_tests unit "$@" >"$reports/unit.out" 2>&1 &
unit=$!
wait "$late_tools" || true
cat "$reports/late-tools" >&2
echo '== system tests'
run_tests system "$@"
runs="system=$?=$reports/system.json"
wait "$unit"
runs="unit=$?=$reports/unit.json $runs"
unit=
echo '== unit tests'
cat "$reports/unit.out"

# shellcheck disable=SC2086
node scripts/tally.mjs "$failed_checks" "$passed_checks" $runs
