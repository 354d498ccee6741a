import type { NamedSource } from '../base/index.ts'
import { type PrepareSourceOptions, prepareSource as prepareLayers } from '../molecule/index.ts'

/** How the layers of a source are prepared: who is told how far it is, and what ends it. */
export type PrepareOptions = Omit<PrepareSourceOptions, 'convert'>

/**
 * Makes what reading a source needs besides the source: of layers that are archives the indexes, and images where an
 * archive cannot be indexed. All of it lies in the store. What is there is not made again.
 * @param source as on the command line, or one that is not read as text any more
 * @returns of how many layers something was made
 * @throws FsError with one line: EIO for a layer that is not what its digest says; EROFS, EACCES, … for the store; the
 *   reason of the signal
 */
export async function prepareSource(
  source: string | NamedSource,
  options: PrepareOptions = {},
): Promise<number> {
  return await prepareLayers(source, {
    ...options,
    convert: async (...words) => {
      const { convertStoredLayer } = await import('../make/index.ts')
      return await convertStoredLayer(...words)
    },
  })
}
