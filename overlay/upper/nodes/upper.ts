import type { Background, BlockStore, HostFileReader } from '../../../src/base/index.ts'
import type { Stack } from '../../merge/directory.ts'
import type { InodeNumbers } from '../../stored/inode-numbers.ts'
import type { OwnerRule } from '../../stored/owner.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import type { WorkDirectory } from '../disk/work-directory.ts'
import type { ModificationTimes } from './modification-times.ts'
import type { NodeTable } from './nodes.ts'
import type { SyncCost } from './sync-cost.ts'
import type { UpperFiles } from './upper-files.ts'

/** What all operations of a writable tree work on. */
export interface Upper {
  readonly stack: Stack
  readonly table: NodeTable
  readonly inodes: InodeNumbers
  readonly files: UpperFiles
  readonly work: WorkDirectory
  readonly policy: UpperPolicy
  readonly times: ModificationTimes
  readonly syncCost: SyncCost
  /** Decodes blocks of the layers, for copy-up. */
  readonly store: BlockStore
  readonly readHostFile: HostFileReader
  /** Other threads that do what takes long; absent where everything is done at once. */
  readonly background: Background | undefined
  /** Of what lies in the layers and of what lies in the upper. */
  readonly owner: OwnerRule
  /** Names that begin with `.wh.` may be marks in this upper; where not, they mean nothing. They are never shown. */
  readonly marks: boolean
  /** Directories that have something below may be renamed. */
  readonly redirectDir: boolean
}
