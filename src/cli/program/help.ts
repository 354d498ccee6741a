/** What `--help` says of the words after `-o`. */

export const OVERLAY_OPTIONS_HELP = `
Overlay options (-o), beside those of mount that make sense here:
  lowerdir=DIR[:DIR…]       what is below, the topmost first; a squashfs file is taken, too, and DIR.squash
                            beside a DIR that is missing or empty; \\: is a colon of a name
  upperdir=DIR, workdir=DIR where changes go; without them the mount is read-only
  redirect_dir=on|off       directories that lie below can be renamed (default: off, as for fuse-overlayfs)
  redirect_dir=on|follow    those that were renamed in a lower directory show what they have below it
  Those of fuse-overlayfs are taken; unknown ones are ignored with a message.`

export const MOUNT_OPTIONS_HELP = `
Mount options (-o):
  ro                        read-only, also with --upper and --persist
  allow_other               let other users in (default for root; noallow_other turns it off)
  uid=N, gid=N              show this owner for everything; me: the one who mounts (also squash_to_uid=,
                            squash_to_gid=)
  squash_to_root            show root as the owner of everything
  ino32_t                   inode numbers below 2^32 in any case, for programs of 32 bits
  uidmapping=A:B:COUNT[:…]  show stored ids A… as B…, others as nobody (and gidmapping=)
  offset=BYTES              where the squashfs image starts in the file
  nosymfollow, sync, dirsync, noatime, nodiratime, relatime, strictatime, lazytime: as for mount(8)
  subdir=PATH               mount this directory of the image
  cache_size=BYTES[K|M|G]   bound of the block cache (default 64M)
  threads=N                 decompression threads (default: one per CPU)
  max_read=BYTES            largest read request
  verify=auto|lazy|eager    as --verify
  driver=NAME               builtin (default), or fuse-native where that npm package is installed
  notify_pipe=PATH          FIFO that gets "s" when the mount serves, "f" when it failed
  timeout=SECONDS           read-only mounts: unmount when nobody used the mount for so long
  fsname=NAME               name in mount tables (default: SOURCE)
  fsync=WHEN                writable: auto (default) or strict; volatile (also alone) never syncs
  redirect_dir=on|off       writable: off refuses to rename directories of the image (EXDEV)
  xattr_permissions=N       writable: 0 real owners, 1, 2 written down in attributes (default: auto)
  xattr=user|trusted        writable: attributes of the overlay's own (default: user)
  writeback=0|1             writable: the kernel collects what is written (default: 1)
  copyup=change|open        writable: files are copied up when changed (default), or when opened for writing
  dev, suid, noexec         device files and setuid work only on request and as root of the machine`
