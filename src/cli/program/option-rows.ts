/**
 * What may stand after `-o`, once for `--help`, the completion of shells and the man page. A test compares the names with
 * what is parsed (src/request/).
 */
export interface OptionRow {
  /**
   * `NAME`, `NAME=VALUE` or `NAME=one|two`. A value in capitals is a placeholder: DIR, DIRS and FILE are paths, DIRS of them
   * several with colons between.
   */
  readonly forms: readonly string[]
  readonly text: string
}

export const MOUNT_ROWS: readonly OptionRow[] = [
  {
    forms: ['ro', 'rw'],
    text: 'read-only, also with --upper and --persist; rw alone makes no mount writable',
  },
  {
    forms: ['allow_other', 'noallow_other'],
    text: 'let other users in, or not (default: only where root mounts)',
  },
  { forms: ['default_permissions'], text: 'always on: the kernel checks permissions' },
  {
    forms: ['uid=N', 'gid=N', 'squash_to_uid=N', 'squash_to_gid=N'],
    text: 'show this owner for everything; me: the one who mounts',
  },
  { forms: ['squash_to_root'], text: 'show root as the owner of everything' },
  {
    forms: ['uidmapping=A:B:COUNT', 'gidmapping=A:B:COUNT'],
    text: 'show stored ids A… as B…, others as nobody; more ranges follow a colon',
  },
  { forms: ['offset=BYTES'], text: 'where the squashfs image starts in the file' },
  {
    forms: ['partition=ID'],
    text: 'of a SIF file: mount this object alone (default: the primary partition)',
  },
  {
    forms: ['overlays=auto|none'],
    text: 'of a SIF file: merge its overlay partitions on top (auto, default), or not',
  },
  { forms: ['subdir=PATH'], text: 'mount this directory of the image' },
  { forms: ['verify=auto|lazy|eager'], text: 'as --verify' },
  {
    forms: ['server=own|shared'],
    text: 'who serves: a process of its own (default), or one for all read-only mounts of this user',
  },
  { forms: ['cache_size=BYTES'], text: 'bound of the block cache, with K, M or G (default: 64M)' },
  { forms: ['threads=N'], text: 'threads that read and decode (default: one per CPU)' },
  { forms: ['max_read=BYTES'], text: 'largest read request' },
  {
    forms: ['driver=builtin|fuse-native'],
    text: 'builtin (default), or fuse-native where that npm package is installed',
  },
  { forms: ['notify_pipe=FILE'], text: 'FIFO that gets "s" when the mount serves, "f" when it failed' },
  {
    forms: ['timeout=SECONDS'],
    text: 'read-only mounts: unmount when nobody used the mount for so long (0: never)',
  },
  { forms: ['ino32_t'], text: 'inode numbers below 2^32 in any case, for programs of 32 bits' },
  { forms: ['fsname=NAME'], text: 'name in mount tables (default: SOURCE)' },
  { forms: ['context="LABEL"'], text: 'SELinux label for everything' },
  { forms: ['debug'], text: 'as --debug' },
  { forms: ['fsync=auto|strict|volatile'], text: 'writable: when data are on the disk (default: auto)' },
  { forms: ['volatile'], text: 'writable: as fsync=volatile, which never syncs' },
  {
    forms: ['redirect_dir=on|off|follow|nofollow'],
    text: 'writable: off refuses to rename directories of the image (EXDEV)',
  },
  {
    forms: ['xattr_permissions=auto|0|1|2'],
    text: 'writable: 0 real owners, 1, 2 written down in attributes (default: auto)',
  },
  {
    forms: ['ext3=fuse2fs'],
    text: 'writable: changes go into the ext3 overlay of a SIF file, or into an image that --upper names, by the program fuse2fs',
  },
  { forms: ['size=BYTES'], text: 'writable: changes may take so many bytes, with K, M or G; ENOSPC beyond' },
  { forms: ['xattr=user|trusted'], text: "writable: attributes of the overlay's own (default: user)" },
  {
    forms: ['writeback', 'writeback=1|0|on|off'],
    text: 'writable: the kernel collects what is written (default: 1)',
  },
  {
    forms: ['copyup=change|open'],
    text: 'writable: files are copied up when changed (default), or when opened for writing',
  },
  {
    forms: ['dev', 'nodev', 'suid', 'nosuid'],
    text: 'device files and setuid work only on request and as root of the machine',
  },
  { forms: ['exec', 'noexec'], text: 'programs can be started from the mount (default), or cannot' },
  { forms: ['remount'], text: 'change the flags of a mount, with ro or rw and those below' },
  {
    forms: [
      ...[
        'nosymfollow',
        'symfollow',
        'sync',
        'async',
        'dirsync',
        'atime',
        'noatime',
        'diratime',
        'nodiratime',
      ],
      ...['relatime', 'norelatime', 'strictatime', 'nostrictatime', 'lazytime', 'nolazytime'],
    ],
    text: 'as for mount(8)',
  },
]

const KEY_ROW: OptionRow = {
  forms: ['passphrase_file=FILE', 'kdf_memory=BYTES', 'kdf_time=SECONDS'],
  text: 'of an encrypted image: as the options of these names',
}

/** What `mount` alone takes there, too (src/cli/words/mount-words.ts). */
export const COMMAND_ROWS: readonly OptionRow[] = [
  {
    forms: ['persist=DIR', 'upper=DIR', 'writable', 'writeable', 'allow_missing_verity', 'root_hash=HEX'],
    text: 'as the options of these names, for fstab and units of systemd',
  },
  KEY_ROW,
  { forms: ['metadir=DIR', 'log=FILE', 'log_level=error|warn|info|debug'], text: 'likewise' },
]

export const OVERLAY_ROWS: readonly OptionRow[] = [
  {
    forms: ['lowerdir=DIRS'],
    text: 'what is below, the topmost first; an image file is taken, too, and DIR.squash beside a DIR that is missing or empty; \\: is a colon of a name',
  },
  {
    forms: ['upperdir=DIR', 'workdir=DIR'],
    text: 'where changes go; without them the mount is read-only',
  },
  {
    forms: ['redirect_dir=off|on|follow'],
    text: 'on: directories that lie below can be renamed; on, follow: those that were renamed in a lower directory show what they have below it (default: off, as for fuse-overlayfs)',
  },
  { forms: ['fsync=0', 'sync=0'], text: 'never sync, and leave no mark of that' },
  { forms: ['userxattr'], text: 'as xattr=user' },
  KEY_ROW,
]

/** Options of mount that `overlay` does not have, or has its own form of. */
const NOT_OF_OVERLAY = ['offset', 'driver', 'timeout', 'redirect_dir', 'remount', 'debug']

/** All that `overlay` takes: its own, and those of mount that make sense there. */
export const ALL_OVERLAY_ROWS: readonly OptionRow[] = [
  ...OVERLAY_ROWS,
  ...MOUNT_ROWS.flatMap(({ forms, text }) => {
    const kept = forms.filter((form) => !NOT_OF_OVERLAY.includes(nameOf(form)))
    return kept.length === 0 ? [] : [{ forms: kept, text }]
  }),
]

/** The name of an option in one of its forms. */
export function nameOf(form: string): string {
  return form.replace(/=.*$/, '')
}
