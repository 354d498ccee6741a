/** The name of the program itself. */
export const OWN_NAME = 'atomfs-fuse'

/** Its other names, as links: `install-links` makes them, and `personalities/` says what each stands for. */
export const LINK_NAMES = [
  'atomfs',
  'fuse-overlayfs',
  'squashfuse',
  'squashfuse_ll',
  'puzzlefs',
  'mount.atomfs-fuse',
  'mount.fuse.atomfs-fuse',
] as const

/** Names of programs that can more than ours does under them: links only for callers that need no more. */
export const APPTAINER_NAMES = ['fuse2fs', 'gocryptfs'] as const

export type Name = typeof OWN_NAME | (typeof LINK_NAMES)[number] | (typeof APPTAINER_NAMES)[number]
