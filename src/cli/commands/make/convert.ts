import { type PathText, UsageError } from '../../../base/index.ts'
import {
  type ConvertedImage,
  type ConvertedLayer,
  type ConvertOptions,
  convert as convertImage,
  openSourceImage,
} from '../../../make/index.ts'
import { parseTarget } from '../../../oci/write/index.ts'
import { formatBytes, formatLines } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import { type Progress, startProgress } from '../../print/progress.ts'
import { contentsRequest, imageFlags, type SourceFlags } from '../source-flags.ts'
import { writeWarnings } from './pack.ts'
import { type PackFlags, packOptions } from './pack-options.ts'
import { convertPuzzlefs, PUZZLEFS_TARGET } from './puzzlefs.ts'

export interface ConvertFlags extends PackFlags, SourceFlags {
  readonly platform?: string
  readonly squash?: boolean
  readonly recompress?: boolean
}

/** Runs `convert`: makes an image of squashfs layers of SOURCE, and prints the digest of its manifest. */
export async function convert(from: PathText, to: string, flags: ConvertFlags): Promise<number> {
  if (to.startsWith(PUZZLEFS_TARGET)) return await toPuzzlefs(from, to, flags)
  const target = parseTarget(to)
  const { force: _, whiteouts: __, ...image } = packOptions(flags)
  return await interruptible(async (signal) => {
    const how = imageFlags(flags) === undefined ? undefined : contentsRequest(from, flags)
    const source = await openSourceImage(from, flags.platform, how)
    try {
      const options = {
        image: { ...image, signal },
        squash: flags.squash === true,
        recompress: flags.recompress === true,
      }
      return report(await convertWithBars(source, target, options, flags), flags)
    } finally {
      source.close()
    }
  }, `${to} was not made`)
}

/** Converts an image, with a progress bar for each layer where somebody sees it. */
export async function convertWithBars(
  source: Parameters<typeof convertImage>[0],
  target: Parameters<typeof convertImage>[1],
  options: ConvertOptions,
  { quiet = false, json = false }: Pick<PackFlags, 'json' | 'quiet'>,
): Promise<ConvertedImage> {
  const { layers } = source
  const bars = await Promise.all(
    layers.map((_layer, i) => startProgress(`layer ${i + 1} of ${layers.length}`, quiet || json)),
  )
  let progress: Progress | undefined
  let total = 0
  try {
    return await convertImage(source, target, {
      ...options,
      onLayer: (position, _count, measure) => {
        progress?.stop()
        progress = bars[position - 1]
        total = progress?.isShown === true ? (measure() ?? 0) : 0
      },
      onProgress: (done) => {
        if (total > 0) progress?.update(done, Math.max(done, total))
      },
    })
  } finally {
    progress?.stop()
  }
}

/** Compressed unless the data are to be stored as they are. */
async function toPuzzlefs(from: PathText, to: string, flags: ConvertFlags): Promise<number> {
  const { compression = 'zstd', uncompressed, json, quiet, platform } = flags
  if (compression !== 'zstd') {
    throw new UsageError(
      'a PuzzleFS image has zstd alone: leave out --compression, or give --uncompressed data',
    )
  }
  const unfit = imageFlags(flags)
  if (unfit !== undefined) throw new UsageError(`${unfit} goes without ${PUZZLEFS_TARGET}`)
  const { uncompressed: parts } = packOptions(uncompressed === undefined ? {} : { uncompressed })
  return await convertPuzzlefs(from, to, { compress: parts?.data !== true, json, quiet, platform })
}

/** Prints what was made, as the options ask for it. @returns the exit status */
export function report(image: ConvertedImage, flags: Pick<PackFlags, 'json' | 'quiet' | 'strict'>): number {
  if (flags.json === true) process.stdout.write(`${JSON.stringify(image, undefined, 2)}\n`)
  const sum = (count: (layer: ConvertedLayer) => number): number =>
    image.layers.reduce((total, layer) => total + count(layer), 0)
  const lost = {
    attributes: sum(({ attributes }) => attributes),
    devices: sum(({ devices }) => devices),
    missingEnds: sum(({ missingEnds }) => missingEnds),
    bytesBehindEnd: sum(({ bytesBehindEnd }) => bytesBehindEnd),
    clampedTimes: sum(({ clampedTimes }) => clampedTimes),
  }
  const status = writeWarnings(lost, flags)
  if (flags.json === true || flags.quiet === true) return status
  const lines = image.layers.map(
    ({ how, digest, size }, i) => `layer ${i + 1}: ${how}, ${digest}, ${formatBytes(size)}`,
  )
  process.stdout.write(formatLines([...lines, `manifest: ${image.manifestDigest}`]))
  return status
}
