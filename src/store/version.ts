import { INDEX_VERSION, type Trailer } from '../../tar/format/trailer.ts'
import type { StoredName } from './stored-name.ts'

/**
 * Versions of what is made of layers. A file of another one counts as absent, and is made again: of indexes, that of their
 * form; of images, raised when the same layer would become another tree.
 */
const VERSIONS: Readonly<Record<StoredName['kind'], number>> = {
  tar: INDEX_VERSION,
  squashfs: 1,
}

/** The version in which this program writes what it makes of tar layers. */
export function versionOf(kind: StoredName['kind']): number {
  return VERSIONS[kind]
}

/** False for what an earlier or a later program has made: it is made anew. */
export function isPresentVersion(kind: StoredName['kind'], { version }: Pick<Trailer, 'version'>): boolean {
  return version === VERSIONS[kind]
}
