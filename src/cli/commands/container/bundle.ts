import { type PathText, UsageError } from '../../../base/index.ts'
import { createBundle, removeBundle } from '../../../bundle/index.ts'
import { absolutePath } from '../../../sys/files/working-directory.ts'
import { formatWarnings } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import { type ContainerFlags, containerRequest } from './container-flags.ts'

/** Runs `bundle`: makes a bundle of a source, or removes one. */
export async function bundle(
  action: string,
  [first = '', ...others]: readonly string[],
  flags: ContainerFlags,
): Promise<number> {
  if (action === 'create') return await create(first, others, flags)
  if (action === 'rm') return await remove(first, others, flags)
  throw new UsageError(
    `bundle ${JSON.stringify(action)}: 'bundle create SOURCE DIR' or 'bundle rm DIR' is needed`,
  )
}

async function create(source: string, words: readonly PathText[], flags: ContainerFlags): Promise<number> {
  const [directory, ...command] = words
  if (directory === undefined)
    throw new UsageError("bundle create: DIR is missing: 'bundle create SOURCE DIR'")
  const { runtime = 'crun', ...request } = containerRequest(source, command, flags)
  const spec = { ...request.spec, furtherGroups: !runtime.includes('runc') }
  return await interruptible(async (signal) => {
    const { warnings } = await createBundle({ ...request, directory, spec, signal })
    process.stderr.write(formatWarnings(warnings))
    return 0
  }, `${directory} is not made`)
}

async function remove(
  directory: PathText,
  others: readonly string[],
  { metadir }: ContainerFlags,
): Promise<number> {
  if (directory === '' || others.length > 0)
    throw new UsageError("bundle rm: one DIR is needed: 'bundle rm DIR'")
  await removeBundle(directory, metadir === undefined ? {} : { metadataDir: absolutePath(metadir) })
  return 0
}
