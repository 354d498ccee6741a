import type { Background, BlockStore, HostFileReader } from '../../../src/base/index.ts'
import type { Stack } from '../../merge/directory.ts'
import type { InodeNumbers } from '../../stored/inode-numbers.ts'
import type { OwnerRule } from '../../stored/owner.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import type { Space } from '../disk/space.ts'
import type { WorkDirectory } from '../disk/work-directory.ts'
import type { ModificationTimes } from './modification-times.ts'
import type { NodeTable } from './nodes.ts'
import type { SyncCost } from './sync-cost.ts'
import type { UpperFiles } from './upper-files.ts'

/** The objects that all operations of a writable tree share. */
export interface Upper {
  readonly stack: Stack
  readonly table: NodeTable
  readonly inodes: InodeNumbers
  readonly files: UpperFiles
  readonly work: WorkDirectory
  readonly policy: UpperPolicy
  readonly times: ModificationTimes
  readonly syncCost: SyncCost
  /** Bounds what the upper takes on its disk; absent where nothing does. */
  readonly space: Space | undefined
  /** Decodes blocks of the layers, for copy-up. */
  readonly store: BlockStore
  readonly readHostFile: HostFileReader
  /** Other threads for slow work; absent where operations do all their work at once. */
  readonly background: Background | undefined
  /** Rules for the owners of files in the layers and in the upper. */
  readonly owner: OwnerRule
  /**
   * Names that begin with `.wh.` may be marks in this upper. They are never shown, and have no meaning where this is
   * false.
   */
  readonly marks: boolean
  /** Directories with a lower part may be renamed. */
  readonly redirectDir: boolean
}
