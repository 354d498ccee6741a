#!/bin/sh
# Shows what the program does, with the image in fixtures/oci: npm run demo. Needs Node, npm and a way to mount; where
# there is none, says why. Exits with 0 only when every step worked, and leaves nothing mounted.
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C

atomfs=./bin/atomfs-fuse
image=fixtures/oci:demo

step() {
  printf '$ %s\n' "$*"
  "$@"
  echo
}

# Set up before a user namespace is entered: npm would take its user for root.
if [ "${1:-}" != --in-namespace ]; then
  step sh scripts/setup.sh

  if ! "$atomfs" doctor >/dev/null 2>&1; then
    # The root of a user namespace may mount without the setuid helper.
    if unshare -rm "$atomfs" doctor >/dev/null 2>&1; then
      echo '# no rights to mount here: going on in a user namespace'
      exec unshare -rm sh scripts/demo.sh --in-namespace
    fi
    step "$atomfs" doctor || true
    echo 'demo: this machine has no way to mount yet; the lines with "fail" and "warn" say what is missing' >&2
    exit 1
  fi
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/atomfs-demo.XXXXXX")
tree=$work/tree
mounted=
cleanup() {
  status=$?
  trap - EXIT
  if [ -n "$mounted" ]; then "$atomfs" umount "$tree" || "$atomfs" umount --lazy "$tree" || status=1; fi
  # No -r: should something still be mounted, it is not touched.
  rmdir "$tree" "$work" || status=1
  exit "$status"
}
mkdir "$tree"
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

echo '# three squashfs layers, each with a dm-verity tree'
step "$atomfs" inspect "$image"

echo '# one mount; silence means that it serves'
mounted=yes
step "$atomfs" mount "$image" "$tree"

echo '# the merged tree: etc/demo.d/two.conf is deleted by a layer, var/cache is replaced'
step ls -lnR "$tree"
step cat "$tree/etc/demo.conf"

echo "# the verdict on every block that was read so far, and what the mount has done"
step "$atomfs" verify "$tree"
step "$atomfs" status "$tree"

step "$atomfs" umount "$tree"
mounted=
step ls -lA "$tree"
echo 'It works. Go on with README.md.'
