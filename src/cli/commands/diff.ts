import { omitUndefined, UsageError } from '../../base/index.ts'
import {
  type Contents,
  DIFFERENCES,
  type Difference,
  type DiffItem,
  diffContents,
  openContents,
} from '../../contents/index.ts'
import { formatFailure } from '../print/failure.ts'
import { formatLines } from '../print/format.ts'
import { TextOutput } from '../print/output.ts'
import { startProgress } from '../print/progress.ts'
import { contentsRequest, type SourceFlags } from './source-flags.ts'

/** Those of `SourceFlags` are about the first source. */
export interface DiffFlags extends SourceFlags {
  readonly otherRootHash?: string
  readonly otherOffset?: string
  readonly otherPassphraseFile?: string
  readonly otherOptions?: readonly string[]
  readonly ignore?: string
  readonly quiet?: boolean
  readonly json?: boolean
}

const SAME = 0
const DIFFERENT = 1
const FAILED = 2

/** Runs `diff`: prints what differs between two sources. @returns 0, 1 where something differs, 2 after an error */
export async function diff(one: string, other: string, flags: DiffFlags): Promise<number> {
  const opened: Contents[] = []
  try {
    const ignore = ignoredOf(flags.ignore)
    const requests = [contentsRequest(one, flags), contentsRequest(other, flagsOfOther(flags))]
    for (const request of requests) opened.push(openContents(request))
    const [first, second] = opened as [Contents, Contents]
    return await compare(first, second, ignore, flags)
  } catch (error) {
    process.stderr.write(formatFailure(error))
    return FAILED
  } finally {
    for (const contents of opened) contents.close()
  }
}

function flagsOfOther({
  allowMissingVerity,
  otherRootHash: rootHash,
  otherOffset: offset,
  otherOptions: o,
}: DiffFlags): SourceFlags {
  return omitUndefined({ allowMissingVerity, rootHash, offset, o })
}

async function compare(
  one: Contents,
  other: Contents,
  ignore: readonly Difference[],
  { quiet = false, json = false }: DiffFlags,
): Promise<number> {
  const output = new TextOutput()
  // A bar between lines would be torn: it is shown where they go elsewhere.
  const progress = await startProgress('comparing', json || process.stdout.isTTY, 'names')
  const total = one.fileSystem.statfs().files
  let code = SAME
  let separator = '[\n  '
  try {
    const onProgress = (names: number): void => progress.update(names, Math.max(names, total))
    for (const item of diffContents(one, other, { ignore, onProgress })) {
      code = Math.max(code, item.change === 'error' ? FAILED : DIFFERENT)
      if (item.change === 'error') process.stderr.write(formatLines([`Error: ${item.path}: ${item.message}`]))
      else if (json) {
        output.add(separator + JSON.stringify(item))
        separator = ',\n  '
      } else if (!quiet) output.add(formatLines([lineOf(item)]))
      await output.drained()
      if (output.isOver) break
    }
  } finally {
    progress.stop()
  }
  if (json) output.add(separator === ',\n  ' ? '\n]\n' : '[]\n')
  await output.end()
  return code
}

function lineOf(item: Exclude<DiffItem, { readonly change: 'error' }>): string {
  return item.change === 'M' ? `M ${item.path} (${item.what.join(', ')})` : `${item.change} ${item.path}`
}

function ignoredOf(text: string | undefined): Difference[] {
  if (text === undefined) return []
  return text.split(',').map((word) => {
    const known = DIFFERENCES.find((one) => one === word)
    if (known !== undefined) return known
    throw new UsageError(`--ignore ${word}: one or more of ${DIFFERENCES.join(',')} is needed`)
  })
}
