#!/bin/bash
# podman.sh MOUNT_PROGRAM [USER]
#
# podman and buildah with MOUNT_PROGRAM under their storage: load, run, build, commit, diff, cp, rm, twenty containers at
# once, system reset. Prints a line for each step: milliseconds and name. Each step's output is compared with what it
# must be. At the end nothing may be left: no mount, no process, no file of the mount program. Exits with 1 if anything
# differs.
#
# With ONLY set, steps whose names match that regular expression run alone, after the import.
#
# Run it as root. With USER, who needs subordinate ids, the engines run without root. It needs podman, buildah, crun and
# a static busybox, and no network. It works in mount and process namespaces of its own.
set -u

program=$(realpath -s "${1:?usage: $0 MOUNT_PROGRAM [USER]}") || exit 1
user=${2:-root}
if [ "${STAGE:-}" = '' ]; then
  [ "$(id -u)" = 0 ] || { echo "$0: run it as root" >&2; exit 1; }
  exec env STAGE=namespaces unshare -m --propagation private -p -f --kill-child --mount-proc bash "$0" "$program" "$user"
fi

if [ "$STAGE" = namespaces ]; then
  # A /run of its own shows what is left there. crun refuses a machine that has cgroups of both versions.
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
  work=$(mktemp -d) || exit 1
  trap 'umount -R "$work"/storage/overlay 2>/dev/null; rm -rf "$work"' EXIT
  mkdir -p "$work"/{tmp,home,image/bin,image/tmp,context} "/run/user/$(id -u "$user")"
  cp "$(command -v busybox)" "$work/image/bin/busybox"
  for name in sh cat cp echo id ls mkdir mv rm sleep true; do ln -s busybox "$work/image/bin/$name"; done
  mkdir "$work"/image/{data,etc,data/old}
  echo first >"$work/image/data/file"
  seq 9 >"$work/image/data/old/numbers"
  tar cf "$work/image.tar" --owner=0 --group=0 -C "$work/image" .
  # No RUN needs a network, and none may depend on what the one before it has left in a cache.
  cat >"$work/context/Dockerfile" <<'END'
FROM localhost/base
RUN echo one >/data/one && mv /data/old /data/new
RUN rm -r /data/new && mkdir /data/new && echo two >/data/new/two
COPY added /data/added
RUN rm /data/file && cat /data/added >/data/copied
END
  echo added >"$work/context/added"
  printf '[storage]\ndriver="overlay"\ngraphroot="%s"\nrunroot="%s"\n[storage.options.overlay]\nmount_program="%s"\n' \
    "$work/storage" "$work/run" "$program" >"$work/storage.conf"
  printf '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=4096:4096"]\n[engine]\ncgroup_manager="cgroupfs"\n' \
    >"$work/containers.conf"
  chmod 755 "$work"
  chown -R "$user": "$work" "/run/user/$(id -u "$user")"
  export STAGE=steps WORK=$work TMPDIR=$work/tmp HOME=$work/home XDG_RUNTIME_DIR=/run/user/$(id -u "$user")
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf BUILDAH_ISOLATION=chroot
  setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups bash "$0" "$program" "$user"
  status=$?
  # A shared server stays for ten seconds.
  for _ in $(seq 150); do
    left=$(ps -A -o pid=,args= | grep -vE "bash $0|ps -A|grep -vE")
    [ -n "$left" ] || break
    sleep 0.1
  done
  mounts=$(grep -F "$work" /proc/self/mountinfo)
  files=$(find /run/atomfs "$XDG_RUNTIME_DIR/atomfs" "$work/tmp" -type f -o -type s 2>/dev/null)
  [ -z "$left$mounts$files" ] || { printf 'left:\n%s\n%s\n%s\n' "$left" "$mounts" "$files" >&2; status=1; }
  exit "$status"
fi

cd "$WORK" || exit 1
failed=0
now() { date +%s%N; }
# step NAME EXPECTED SCRIPT: the standard output must be EXPECTED.
step() {
  local name=$1 expected=$2 begin output status
  [[ $name =~ ${ONLY:-} || $name =~ ^(import|system) ]] || return 0
  begin=$(now)
  output=$(timeout 300 bash -c "$3" 2>"$WORK/errors" </dev/null)
  status=$?
  printf '%6d %s\n' $((($(now) - begin) / 1000000)) "$name"
  if [ "$status" != 0 ] || [ "$output" != "$expected" ]; then
    failed=1
    printf '%s: status %d\nexpected: %s\ngot:      %s\n' "$name" "$status" "$expected" "$output" >&2
    tail -n 5 "$WORK/errors" >&2
  fi
}
quiet() { "$@" >/dev/null; }
export -f quiet
run() { podman run --network=host --cgroups=disabled "$@"; }
export -f run

step 'import' '' 'quiet podman import image.tar localhost/base'
step 'save, rmi, load' '' \
  'podman save -q -o saved.tar localhost/base && quiet podman rmi localhost/base && quiet podman load -q -i saved.tar'
for round in 1 2 3; do step "run $round" hi 'run --rm localhost/base echo hi'; done
step 'run as a user, read-only' '1000' 'run --rm --read-only -u 1000 localhost/base id -u'
changes='echo x >>/data/file; rm -r /data/old; mkdir /data/old; echo y >/data/old/y; mv /data/file /data/moved'
step 'run with changes' '' "run --name changed localhost/base sh -c '$changes'"
step 'diff' $'A /data/moved\nA /data/old/y\nC /data\nC /data/old\nD /data/file\nD /data/old/numbers' \
  'podman diff changed | grep -vE "^[AC] /(etc|run|dev|proc|sys)" | LC_ALL=C sort'
step 'cp out and in' $'first\nx' 'podman cp changed:/data/moved out && cat out && podman cp out changed:/data/in'
step 'commit' '' 'quiet podman commit -q changed localhost/committed'
step 'run the committed image' $'first\nx\ny\nin\nmoved\nold' \
  'run --rm localhost/committed sh -c "cat /data/in /data/old/*; ls /data"'
step 'start again' '' 'quiet podman start -a changed || true'
step 'rm' '' 'quiet podman rm changed'
step 'run detached, exec, stop, rm' 'again' \
  'quiet run -d --name long localhost/base sh -c "echo again >/data/x; sleep 1000" && until podman exec long cat /data/x \
  2>/dev/null; do sleep 0.1; done; quiet podman stop -t 0 long; quiet podman rm long'
step 'build of three RUN' '' 'quiet podman build -q --network=host --no-cache -t localhost/built context'
step 'run the built image' $'added\ncopied\nnew\none\ntwo\nadded' \
  'run --rm localhost/built sh -c "ls /data; ls /data/new; cat /data/copied"'
step 'buildah from, run, copy, commit, rm' '' 'c=$(buildah from localhost/built) &&
  buildah run "$c" sh -c "rm -r /data/new; echo z >/data/z" && quiet buildah copy "$c" context/added /data/late &&
  quiet buildah commit -q "$c" localhost/buildah && quiet buildah rm "$c"'
step 'run the image of buildah' $'added\ncopied\nlate\none\nz' 'run --rm localhost/buildah ls /data'
step 'twenty containers at once' "$(for i in $(seq 20); do echo "0$i"; done | sort)" \
  'for i in $(seq 20); do run --rm localhost/base sh -c "echo $i >/data/file; rm -r /data/old; cp /data/file /data/c; id -u |
  while read -r n; do echo \$n\$(cat /data/c); done" & done | sort; wait'
step 'four builds at once' $'added\ncopied\nnew\none' 'for i in 1 2 3 4; do
  quiet podman build -q --network=host --no-cache -t localhost/built$i context & done; wait
  for i in 1 2 3 4; do run --rm localhost/built$i ls /data; done | sort -u'
step 'system reset' '' 'quiet podman system reset -f'
exit "$failed"
