#!/bin/bash
# podman-beside.sh ROUNDS [VARIABLE=VALUE,]MOUNT_PROGRAM…
#
# podman.sh with several mount programs, in interleaved rounds that begin with another one each time: the steps of many
# at once, or those that ONLY names. Prints the median of each step in milliseconds, its least and most, and its ratio to
# that of the first program.
set -u

rounds=${1:?usage: $0 ROUNDS [VARIABLE=VALUE,]MOUNT_PROGRAM...}
shift
programs=("$@")
export ONLY=${ONLY:-at once}
times=$(mktemp -d) || exit 1
trap 'rm -r "$times"' EXIT
status=0
for ((round = 0; round < rounds; round++)); do
  for ((i = 0; i < ${#programs[@]}; i++)); do
    at=$(((round + i) % ${#programs[@]}))
    program=${programs[at]}
    variables=()
    [[ $program == *,* ]] && variables=("${program%%,*}")
    env "${variables[@]}" "$(dirname "$0")/podman.sh" "${program#*,}" >"$times/now" || status=1
    sed "s/^ */$at /" "$times/now" >>"$times/all"
  done
done
for ((at = 0; at < ${#programs[@]}; at++)); do echo "$at: ${programs[at]}"; done
sort -k1n -k2n "$times/all" | awk '
  { key = $1; time = $2; $1 = $2 = ""; name = substr($0, 3)
    if (!(name in seen)) { seen[name] = 1; names[++steps] = name }
    values[key, name, ++count[key, name]] = time; if (key >= programs) programs = key + 1 }
  function median(key, name,  n) { n = count[key, name]
    return n % 2 ? values[key, name, (n + 1) / 2] : (values[key, name, n / 2] + values[key, name, n / 2 + 1]) / 2 }
  END { for (s = 1; s <= steps; s++) for (key = 0; key < programs; key++) { name = names[s]; n = count[key, name]
    if (n) printf "%-28s %d %7d (%d to %d) %.2f\n", name, key, median(key, name), values[key, name, 1],
      values[key, name, n], median(key, name) / median(0, name) } }'
exit "$status"
