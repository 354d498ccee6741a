import type { ErrnoCode, Name, SourceId } from '../../base/index.ts'
import type { BlobWish, MoleculeSpec } from '../../molecule/index.ts'
import type { HostInode } from '../../sys/files/statx.ts'
import type { FileAttributes } from './attributes.ts'
import type { Owners } from './owners.ts'

/** How all files of one extraction are made. */
export interface Manner {
  readonly owners: Owners
  /** What has the name of a new file gives way to it. */
  readonly replaces: boolean
}

/** What a thread gets when it starts. */
export interface WriteData {
  readonly spec: MoleculeSpec
  readonly manner: Manner
}

/** A regular file, to be made as a whole. */
export interface FileJob {
  readonly id: number
  /** Descriptor of its directory. */
  readonly folder: number
  readonly name: Name
  readonly attributes: FileAttributes
  /** `PieceList` of all of it. */
  readonly pieces: Float64Array
}

/** A part of a file that is open already. */
export interface PartJob {
  readonly id: number
  readonly fd: number
  /** Bytes. */
  readonly offset: number
  readonly pieces: Float64Array
}

export type WriteJob = FileJob | PartJob

/** Identifies a file of this machine. */
export interface Identity {
  readonly dev: number
  readonly inode: HostInode
}

/** What became of a file. */
export interface Made extends Identity {
  /** Extended attributes that it could not get. */
  readonly left: number
}

/** An error loses its class between threads. */
export interface Failure {
  readonly code: ErrnoCode
  readonly message: string
}

/** What became of a job: `made` is absent for a part. */
export interface WriteResult {
  readonly id: number
  readonly made?: Made
  readonly failure?: Failure
}

export type WriteMessage =
  | { readonly type: 'done'; readonly results: readonly WriteResult[] }
  /** The thread waits until this blob of an image is open. */
  | { readonly type: 'blob'; readonly image: SourceId; readonly blob: number; readonly wish: BlobWish }
