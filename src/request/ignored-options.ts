/**
 * Options that are accepted and change nothing: lists are made for mount(8), fstab and other programs, and are passed
 * on whole.
 */
const IGNORED: ReadonlySet<string> = new Set([
  // For mount(8) and systemd. `loop` asks for a device that is not needed here.
  ...[
    '_netdev',
    'nofail',
    'fail',
    'defaults',
    'auto',
    'noauto',
    'user',
    'nouser',
    'users',
    'owner',
    'noowner',
  ],
  ...['group', 'nogroup', 'loop', 'sizelimit', 'comment', 'helper', 'uhelper'],
  // Flags of mount(2) that no FUSE mount takes, or that are for its messages only.
  ...['iversion', 'noiversion', 'mand', 'nomand', 'loud', 'silent'],
  // For libfuse. What they let it cache is cached for good here; threads are in `threads=`, the type is what tells our
  // mounts from others, mounts go over what is there, and the next mount or umount removes what a dead process left.
  ...['kernel_cache', 'auto_cache', 'ac_attr_timeout', 'entry_timeout', 'attr_timeout', 'negative_timeout'],
  ...[
    'clone_fd',
    'max_threads',
    'max_idle_threads',
    'max_background',
    'congestion_threshold',
    'max_readahead',
  ],
  ...['big_writes', 'async_read', 'sync_read', 'splice_read', 'splice_write', 'splice_move', 'use_ino'],
  ...['subtype', 'nonempty', 'auto_unmount', 'intr', 'hard_remove', 'noforget', 'readdir_ino'],
])

/** With or without a value. */
export function isIgnoredOption(name: string): boolean {
  return /^x-/i.test(name) || IGNORED.has(name)
}
