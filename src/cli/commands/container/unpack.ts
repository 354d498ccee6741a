import type { PathText } from '../../../base/index.ts'
import { lowerdirWord, unpack as unpackLayers } from '../../../make/index.ts'
import { formatLines, formatWarnings } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import { print } from '../../print/output.ts'
import { ownersOf } from '../extract.ts'

/** What commander makes of the options of `unpack`. */
export interface UnpackFlags {
  readonly owners?: string
  readonly platform?: string
  readonly quiet?: boolean
  readonly json?: boolean
}

/** Runs `unpack`: writes each layer of an image into a directory of its own, for overlays of other programs. */
export async function unpack(source: string, directory: PathText, flags: UnpackFlags): Promise<number> {
  const { quiet = false, json = false } = flags
  return await interruptible(async (signal) => {
    const report = await unpackLayers(source, directory, {
      owners: flags.owners === undefined ? undefined : ownersOf(flags.owners),
      platform: flags.platform,
      signal,
    })
    const warnings: string[] = []
    if (report.skippedDevices > 0)
      warnings.push(`${report.skippedDevices} devices are left out: only root can make them`)
    if (report.leftAttributes > 0) {
      warnings.push(
        `${report.leftAttributes} extended attributes are left out: the files there cannot have them`,
      )
    }
    if (report.namedWhiteouts > 0) {
      warnings.push(
        `${report.namedWhiteouts} deletions are names .wh., which fuse-overlayfs reads and the kernel does not`,
      )
    }
    if (!quiet) process.stderr.write(formatWarnings(warnings))
    if (json) await print(`${JSON.stringify(report, undefined, 2)}\n`)
    else await print(formatLines([lowerdirWord(report.directories)]))
    return 0
  }, `${directory} is not complete: remove it`)
}
