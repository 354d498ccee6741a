/**
 * Features of a file system, by the names that mke2fs gives them (ext4: Super Block, `s_feature_*`; lib/e2p/feature.c).
 * Who does not know a bit of `incompat` must not read; unknown bits of the other two do not matter to a reader.
 */

export const COMPAT = {
  dir_prealloc: 0x1,
  imagic_inodes: 0x2,
  has_journal: 0x4,
  ext_attr: 0x8,
  resize_inode: 0x10,
  dir_index: 0x20,
  lazy_bg: 0x40,
  exclude_bitmap: 0x100,
  sparse_super2: 0x200,
  fast_commit: 0x400,
  stable_inodes: 0x800,
  orphan_file: 0x1000,
} as const

export const INCOMPAT = {
  compression: 0x1,
  filetype: 0x2,
  needs_recovery: 0x4,
  journal_dev: 0x8,
  meta_bg: 0x10,
  extent: 0x40,
  '64bit': 0x80,
  mmp: 0x100,
  flex_bg: 0x200,
  ea_inode: 0x400,
  dirdata: 0x1000,
  metadata_csum_seed: 0x2000,
  large_dir: 0x4000,
  inline_data: 0x8000,
  encrypt: 0x1_0000,
  casefold: 0x2_0000,
} as const

export const RO_COMPAT = {
  sparse_super: 0x1,
  large_file: 0x2,
  btree_dir: 0x4,
  huge_file: 0x8,
  uninit_bg: 0x10,
  dir_nlink: 0x20,
  extra_isize: 0x40,
  has_snapshot: 0x80,
  quota: 0x100,
  bigalloc: 0x200,
  metadata_csum: 0x400,
  replica: 0x800,
  read_only: 0x1000,
  project: 0x2000,
  shared_blocks: 0x4000,
  verity: 0x8000,
  orphan_present: 0x1_0000,
} as const

/** Those of `incompat` that this reader understands, or that concern writers alone (`mmp`, `flex_bg`). */
const READABLE =
  INCOMPAT.filetype |
  INCOMPAT.needs_recovery |
  INCOMPAT.meta_bg |
  INCOMPAT.extent |
  INCOMPAT['64bit'] |
  INCOMPAT.mmp |
  INCOMPAT.flex_bg |
  INCOMPAT.ea_inode |
  INCOMPAT.metadata_csum_seed |
  INCOMPAT.large_dir |
  INCOMPAT.inline_data

/** The three words of a superblock. */
export interface Features {
  readonly compat: number
  readonly incompat: number
  readonly roCompat: number
}

/** Names of the bits that are set; a bit without a name is called by its number, as e2fsprogs does: `FEATURE_I31`. */
function namesOf(bits: number, names: Readonly<Record<string, number>>, letter: string): string[] {
  const found = Object.entries(names).filter(([, bit]) => (bits & bit) !== 0)
  const named = found.map(([name]) => name)
  const known = found.reduce((sum, [, bit]) => sum | bit, 0)
  for (let i = 0; i < 32; i++) {
    if (((bits & ~known) >>> i) & 1) named.push(`FEATURE_${letter}${i}`)
  }
  return named
}

/** All features that a file system has, for people. */
export function featureNames({ compat, incompat, roCompat }: Features): readonly string[] {
  return [
    ...namesOf(compat, COMPAT, 'C'),
    ...namesOf(incompat, INCOMPAT, 'I'),
    ...namesOf(roCompat, RO_COMPAT, 'R'),
  ]
}

/** The features without which the file system cannot be read, and which this reader does not have. */
export function unreadableFeatures({ incompat }: Features): readonly string[] {
  return namesOf(incompat & ~READABLE, INCOMPAT, 'I')
}
