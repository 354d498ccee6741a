import { type PathText, UsageError } from '../../base/index.ts'
import { type ExtractReport, extractSource, type Owners } from '../../contents/index.ts'
import { parseInteger } from '../../request/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { formatBytes, formatLines, formatWarnings } from '../print/format.ts'
import { interruptible } from '../print/interruption.ts'
import { print } from '../print/output.ts'
import { startProgress } from '../print/progress.ts'
import { contentsRequest, type SourceFlags } from './source-flags.ts'

export interface ExtractFlags extends SourceFlags {
  readonly owners?: string
  readonly threads?: string
  readonly force?: boolean
  readonly strict?: boolean
  readonly quiet?: boolean
  readonly json?: boolean
}

const MOST_THREADS = 999
/** Failures that are named; the others are counted. */
const MOST_LINES = 1000

/**
 * Runs `extract`: writes the tree of SOURCE into a directory.
 * @returns 1 where something could not be extracted, which was named, and with `strict` where something was left out
 */
export async function extract(
  source: string,
  directory: PathText,
  paths: readonly PathText[],
  flags: ExtractFlags,
): Promise<number> {
  const { json = false, quiet = false } = flags
  const request = {
    ...contentsRequest(source, flags),
    directory: absolutePath(directory),
    paths,
    owners: flags.owners === undefined ? undefined : ownersOf(flags.owners),
    force: flags.force,
    threads:
      flags.threads === undefined ? undefined : parseInteger('--threads', flags.threads, 1, MOST_THREADS),
  }
  const lines: string[] = []
  return await interruptible(async (signal) => {
    const progress = await startProgress('extracting', quiet || json, 'names')
    let report: ExtractReport
    try {
      report = await extractSource(
        { ...request, signal },
        {
          onProgress: progress.update,
          onFailure: (path, error) => {
            if (lines.length < MOST_LINES) lines.push(`Error: ${path}: ${error.message}`)
          },
        },
      )
    } finally {
      progress.stop()
      process.stderr.write(formatLines(lines))
    }
    if (report.failures > lines.length) {
      process.stderr.write(
        formatLines([`Error: ${report.failures - lines.length} more could not be extracted`]),
      )
    }
    const warnings = warningsOf(report)
    if (!quiet) process.stderr.write(formatWarnings(warnings))
    if (json) await print(`${JSON.stringify(report, undefined, 2)}\n`)
    else if (!quiet) await print(formatLines([summaryOf(report)]))
    return report.failures > 0 || (flags.strict === true && warnings.length > 0) ? 1 : 0
  }, `${directory} is not complete; the files in it are whole`)
}

/** @throws UsageError */
export function ownersOf(text: string): Owners {
  if (text === 'real' || text === 'override' || text === 'none') return text
  throw new UsageError(`owners ${JSON.stringify(text)}: real, override or none is needed`)
}

function warningsOf({ skippedDevices, leftAttributes }: ExtractReport): string[] {
  const warnings: string[] = []
  if (skippedDevices > 0) {
    warnings.push(`${skippedDevices} devices are left out: only root can make them, or --owners=override`)
  }
  if (leftAttributes > 0) {
    warnings.push(`${leftAttributes} extended attributes are left out: the files there cannot have them`)
  }
  return warnings
}

function summaryOf(report: ExtractReport): string {
  const { files, directories, symlinks, hardLinks, specials, bytes } = report
  const others = [`${hardLinks} hard links`, `${symlinks} symbolic links`, `${specials} special files`]
  return `${files} files (${formatBytes(bytes)}), ${directories} directories, ${others.join(', ')}`
}
