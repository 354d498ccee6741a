import type { PathText } from '../../../base/index.ts'
import { buildPuzzlefs, convertToPuzzlefs, type PuzzlefsImage } from '../../../make/index.ts'
import { parseTarget } from '../../../oci/write/index.ts'
import { absolutePath } from '../../../sys/files/working-directory.ts'
import { formatBytes, formatLines } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import { print } from '../../print/output.ts'
import { startProgress } from '../../print/progress.ts'

/** What stands before the target of `convert` where a PuzzleFS image is wanted. */
export const PUZZLEFS_TARGET = 'oci-puzzlefs:'

export interface PuzzlefsFlags {
  readonly compress: boolean
  readonly json?: boolean | undefined
  readonly quiet?: boolean | undefined
  readonly platform?: string | undefined
}

/** Runs `convert` for such a target: makes a PuzzleFS image of what a mount of SOURCE would show. */
export async function convertPuzzlefs(from: PathText, to: string, flags: PuzzlefsFlags): Promise<number> {
  const target = parseTarget(to.slice(PUZZLEFS_TARGET.length))
  const { compress, platform, json = false, quiet = false } = flags
  return await interruptible(async (signal) => {
    const progress = await startProgress('storing', quiet || json)
    let image: PuzzlefsImage
    try {
      image = await convertToPuzzlefs(from, target, {
        compress,
        platform,
        signal,
        onProgress: progress.update,
      })
    } finally {
      progress.stop()
    }
    if (json) await print(`${JSON.stringify({ ...target, ...image }, undefined, 2)}\n`)
    else if (!quiet) await print(describe(image))
    return 0
  }, `${to} was not made`)
}

/**
 * Runs `puzzlefs build`: makes a PuzzleFS image of a directory, and prints what `mount -d` takes.
 * @param baseTag of the image on which it is built
 */
export async function build(
  directory: PathText,
  to: string,
  compress: boolean,
  baseTag: string | undefined,
): Promise<number> {
  const target = parseTarget(to)
  return await interruptible(async (signal) => {
    const { fsVerity } = await buildPuzzlefs(absolutePath(directory), target, { compress, baseTag, signal })
    await print(`puzzlefs image manifest digest: ${fsVerity}\n`)
    return 0
  }, `${to} was not made`)
}

function describe({
  inodes,
  dataBytes,
  chunks,
  storedBytes,
  manifestDigest,
  fsVerity,
}: PuzzlefsImage): string {
  return formatLines([
    `${inodes} inodes, ${formatBytes(dataBytes)} in ${chunks} chunks of ${formatBytes(storedBytes)}`,
    `manifest: ${manifestDigest}`,
    `fs-verity digest of the manifest: ${fsVerity}`,
  ])
}
