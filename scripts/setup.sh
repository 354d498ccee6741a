#!/bin/sh
# Makes the working tree ready: packages and build, each only where missing or out of date.
# With --tools also the system tools that the tests use: installed where we are root on Debian or Ubuntu, named
# otherwise; a test that lacks its tool says so and is skipped. With --late-tools those that only system tests use, and
# nothing else.
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "setup: $*" >&2
  exit 1
}

command -v node >/dev/null 2>&1 || fail 'node is missing: install Node.js 20.19 or newer'
version=$(node --version)
number=${version#v}
major=${number%%.*}
rest=${number#*.}
minor=${rest%%.*}
if [ "$major" -lt 20 ] || { [ "$major" -eq 20 ] && [ "$minor" -lt 19 ]; }; then
  fail "Node.js $version is too old: 20.19 or newer is needed"
fi

# PROGRAM:PACKAGE, or a file name of a library before the colon.
TOOLS='mksquashfs:squashfs-tools unsquashfs:squashfs-tools tar2sqfs:squashfs-tools-ng fusermount3:fuse3
squashfuse:squashfuse fuse-overlayfs:fuse-overlayfs veritysetup:cryptsetup-bin cryptsetup:cryptsetup-bin setfattr:attr getfacl:acl setfacl:acl mke2fs:e2fsprogs e2fsck:e2fsprogs
debugfs:e2fsprogs
unshare:util-linux losetup:mount newuidmap:uidmap bwrap:bubblewrap xz:xz-utils zstd:zstd modprobe:kmod ps:procps
tar:tar rsync:rsync liblzo2.so.2:liblzo2-2 sqlite3:sqlite3 strace:strace busybox:busybox-static setquota:quota mkfs.btrfs:btrfs-progs mkfs.xfs:xfsprogs
mandoc:mandoc fsverity:fsverity capnp:capnproto'
# What only system tests use, and takes long to install: the tests before them need not wait for it.
LATE_TOOLS='bsdtar:libarchive-tools siftool:siftool fuse2fs:fuse2fs gpg:gpg gpgv:gpgv gocryptfs:gocryptfs crun:crun runc:runc umoci:umoci skopeo:skopeo pigz:pigz bgzip:tabix zsh:zsh fish:fish chromium-headless-shell:chromium-headless-shell'

has() {
  case $1 in
    lib*.so*) { ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null; } | grep -q "$1" ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

install_tools() {
  PATH=$PATH:/usr/sbin:/sbin
  missing= packages=
  for pair in $1; do
    has "${pair%%:*}" && continue
    missing="$missing ${pair%%:*}"
    packages="$packages ${pair#*:}"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: missing for some tests:$missing (Debian packages:$packages)" >&2
    return 0
  fi
  echo "setup: installing$packages" >&2
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # One package that a distribution lacks must not keep the others away.
  {
    apt-get -q update
    # shellcheck disable=SC2086
    apt-get -q -y --no-install-recommends install $packages ||
      for package in $packages; do apt-get -q -y --no-install-recommends install "$package" || true; done
  } >"$log" 2>&1 || true
  still=
  for name in $missing; do has "$name" || still="$still $name"; done
  if [ -n "$still" ]; then
    tail -n 5 "$log" >&2
    echo "setup: still missing, their tests will be skipped:$still" >&2
  fi
  rm -f "$log"
}

case ${1:-} in
  --tools) install_tools "$TOOLS" ;;
  --late-tools)
    install_tools "$LATE_TOOLS"
    exit 0
    ;;
esac

# npm writes node_modules/.package-lock.json last.
installed=node_modules/.package-lock.json
if [ ! -f "$installed" ] || [ -n "$(find package-lock.json -newer "$installed")" ]; then
  npm ci --no-audit --no-fund --loglevel=error || fail 'npm ci failed'
  touch "$installed"
fi

if [ ! -f dist/.built ] ||
  [ -n "$(find src squashfs ext4 puzzlefs sif tar overlay scripts/build.mjs package.json -newer dist/.built -print 2>/dev/null | head -n 1)" ]; then
  node scripts/build.mjs || fail 'the build failed'
fi
