import type { FsError, PathText } from '../../base/index.ts'
import type { Owners } from './owners.ts'

/** What an extraction tells while it runs. */
export interface ExtractListener {
  /** @param done names so far. @param total all of them, about: what is hidden by layers counts */
  readonly onProgress?: (done: number, total: number) => void
  /** Something that could not be extracted. The others are. */
  readonly onFailure?: (path: PathText, error: FsError) => void
}

/** What was made. */
export interface ExtractReport {
  readonly directories: number
  readonly files: number
  /** Further names of files. */
  readonly hardLinks: number
  readonly symlinks: number
  /** Devices, fifos and sockets. */
  readonly specials: number
  /** Of all files. */
  readonly bytes: number
  readonly owners: Owners
  /** Devices that the caller may not make. */
  readonly skippedDevices: number
  /** Extended attributes that the files there cannot have. */
  readonly leftAttributes: number
  /** What could not be extracted. */
  readonly failures: number
}
