import type { PathText } from '../../../base/index.ts'
import {
  type ConvertedImage,
  type ConvertedLayer,
  convert as convertImage,
  openSourceImage,
} from '../../../make/index.ts'
import { parseTarget } from '../../../oci/write/index.ts'
import { formatBytes, formatLines } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import { type Progress, startProgress } from '../../print/progress.ts'
import { writeWarnings } from './pack.ts'
import { type PackFlags, packOptions } from './pack-options.ts'

export interface ConvertFlags extends PackFlags {
  readonly platform?: string
  readonly squash?: boolean
  readonly recompress?: boolean
}

/** Runs `convert`: makes an image of squashfs layers of SOURCE, and prints the digest of its manifest. */
export async function convert(from: PathText, to: string, flags: ConvertFlags): Promise<number> {
  const target = parseTarget(to)
  const { force: _, whiteouts: __, ...image } = packOptions(flags)
  const isSilent = flags.quiet === true || flags.json === true
  return await interruptible(async (signal) => {
    const source = await openSourceImage(from, flags.platform)
    let progress: Progress | undefined
    let total = 0
    try {
      const bars = await Promise.all(
        source.layers.map((_layer, i) =>
          startProgress(`layer ${i + 1} of ${source.layers.length}`, isSilent),
        ),
      )
      const made = await convertImage(source, target, {
        image: { ...image, signal },
        squash: flags.squash === true,
        recompress: flags.recompress === true,
        onLayer: (position, _count, bytes) => {
          progress?.stop()
          progress = bars[position - 1]
          total = bytes ?? 0
        },
        onProgress: (done) => {
          if (total > 0) progress?.update(done, total)
        },
      })
      progress?.stop()
      report(made, flags)
      return 0
    } finally {
      progress?.stop()
      source.close()
    }
  }, `${to} was not made`)
}

/** Prints what was made, as the options ask for it. */
export function report(image: ConvertedImage, flags: Pick<PackFlags, 'json' | 'quiet'>): void {
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(image, undefined, 2)}\n`)
    return
  }
  if (flags.quiet === true) return
  const sum = (count: (layer: ConvertedLayer) => number): number =>
    image.layers.reduce((total, layer) => total + count(layer), 0)
  writeWarnings({
    attributes: sum(({ attributes }) => attributes),
    devices: sum(({ devices }) => devices),
    clampedTimes: sum(({ clampedTimes }) => clampedTimes),
  })
  const lines = image.layers.map(
    ({ how, digest, size }, i) => `layer ${i + 1}: ${how}, ${digest}, ${formatBytes(size)}`,
  )
  process.stdout.write(formatLines([...lines, `manifest: ${image.manifestDigest}`]))
}
