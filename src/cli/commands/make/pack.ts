import { createReadStream } from 'node:fs'
import { type PathText, systemPath, UsageError } from '../../../base/index.ts'
import {
  type LeftOut,
  type PackedImage,
  type PackSource,
  pack as packTree,
  readSourceForm,
  sizeOfSource,
} from '../../../make/index.ts'
import { absolutePath } from '../../../sys/files/working-directory.ts'
import { formatLines } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import { startProgress } from '../../print/progress.ts'
import { contentsRequest, imageFlags, type SourceFlags } from '../source-flags.ts'
import { type PackFlags, packOptions } from './pack-options.ts'

const READ_AHEAD = 1 << 20

/**
 * Runs `pack`: makes the image FILE of a directory, a tar archive, one on stdin, or an image that can be mounted, and
 * prints its root hash.
 */
export async function pack(from: PathText, file: PathText, flags: PackFlags & SourceFlags): Promise<number> {
  const options = packOptions(flags)
  const isSilent = flags.quiet === true || flags.json === true
  const progress = await startProgress('packing', isSilent)
  return await interruptible(async (signal) => {
    try {
      const source = sourceOf(from, flags)
      const total = progress.isShown ? sizeOfSource(source, options) : 0
      const image = await packTree(source, absolutePath(file), {
        ...options,
        signal,
        ...(total > 0 && { onProgress: (done) => progress.update(done, total) }),
      })
      progress.stop()
      return report(image, flags)
    } finally {
      progress.stop()
    }
  }, `${file} was not made`)
}

function sourceOf(from: string, flags: PackFlags & SourceFlags): PackSource {
  const given = imageFlags(flags)
  if (from === '-') {
    if (given !== undefined)
      throw new UsageError(`${given} is for images, not for an archive on standard input`)
    return { tar: process.stdin, label: 'standard input' }
  }
  const source = readSourceForm(from, given !== undefined)
  if (source.form === 'image') return { image: contentsRequest(source.source, flags) }
  if (source.form === 'directory') return { directory: source.path }
  return { tar: createReadStream(systemPath(source.path), { highWaterMark: READ_AHEAD }), label: from }
}

/** @returns the exit status */
function report(image: PackedImage, flags: PackFlags): number {
  if (flags.json === true) process.stdout.write(`${JSON.stringify(image, undefined, 2)}\n`)
  const status = writeWarnings(image, flags)
  const { rootHash } = image
  if (flags.json !== true && flags.quiet !== true && rootHash !== undefined) {
    process.stdout.write(formatLines([`root hash: ${rootHash}`]))
  }
  return status
}

/**
 * What of a tree is not in its image as it was: in JSON it is told by its numbers.
 * @returns the exit status
 */
export function writeWarnings(
  lost: LeftOut & Pick<PackedImage, 'clampedTimes'>,
  { strict = false, json = false, quiet = false }: Pick<PackFlags, 'strict' | 'json' | 'quiet'>,
): number {
  const warnings = warningsOf(lost)
  if (!json && !quiet && warnings.length > 0) process.stderr.write(formatLines(warnings))
  return strict && warnings.length > 0 ? 1 : 0
}

function warningsOf({
  attributes,
  devices,
  missingEnds,
  bytesBehindEnd,
  clampedTimes,
}: LeftOut & Pick<PackedImage, 'clampedTimes'>): string[] {
  const warnings: string[] = []
  if (attributes > 0) {
    warnings.push(
      `Warning: ${attributes} attributes, such as ACLs, are left out: squashfs has no place for them`,
    )
  }
  if (devices > 0) {
    warnings.push(`Warning: ${devices} character devices 0:0 are left out: to an overlay they are whiteouts`)
  }
  if (missingEnds > 0) {
    const what = missingEnds === 1 ? 'the archive has' : `${missingEnds} archives have`
    warnings.push(`Warning: ${what} no mark at the end: make sure that nothing was cut off`)
  }
  if (bytesBehindEnd > 0) {
    warnings.push(`Warning: ${bytesBehindEnd} bytes behind the end of the archive are left out`)
  }
  if (clampedTimes > 0) {
    warnings.push(
      `Warning: ${clampedTimes} modification times before 1970 or after 2106 became the nearest possible`,
    )
  }
  return warnings
}
