import { UsageError } from '../../base/index.ts'
import { collectStore, listStore, removeStored, type StoredLayer } from '../../molecule/index.ts'
import { parseDigest } from '../../oci/digest.ts'
import { formatBytes, formatLines } from '../print/format.ts'
import { print } from '../print/output.ts'
import { formatTable } from '../print/table.ts'

export interface StoreFlags {
  readonly json?: boolean
}

const ACTIONS = 'ls, gc, rm or verify'

/** Runs `store`. @returns 1 where a file is damaged, or nothing has a digest that was given */
export async function store(action: string, digests: readonly string[], flags: StoreFlags): Promise<number> {
  if (action === 'rm') return await remove(digests, flags)
  if (digests.length > 0) throw new UsageError(`store ${action} takes no digests`)
  switch (action) {
    case 'ls':
      await show(listStore(), flags)
      return 0
    case 'verify': {
      const found = listStore(true)
      await show(found, flags)
      return found.some(({ damage }) => damage !== undefined) ? 1 : 0
    }
    case 'gc':
      await tell(collectStore(), flags)
      return 0
    default:
      throw new UsageError(`store ${JSON.stringify(action)}: ${ACTIONS} is needed`)
  }
}

async function remove(digests: readonly string[], flags: StoreFlags): Promise<number> {
  if (digests.length === 0) throw new UsageError('store rm: which digests?')
  // Each becomes the name of a file.
  for (const digest of digests) parseDigest(digest, 'store rm')
  const missing = digests.filter((digest) => !removeStored(digest))
  process.stderr.write(formatLines(missing.map((digest) => `Error: nothing was made of ${digest}`)))
  await tell(
    digests.filter((digest) => !missing.includes(digest)),
    flags,
  )
  return missing.length > 0 ? 1 : 0
}

/** Names of what was removed. */
async function tell(removed: readonly string[], { json = false }: StoreFlags): Promise<void> {
  await print(json ? `${JSON.stringify(removed)}\n` : formatLines(removed))
}

async function show(found: readonly StoredLayer[], { json = false }: StoreFlags): Promise<void> {
  if (json) {
    await print(`${JSON.stringify(found, undefined, 2)}\n`)
    return
  }
  const rows = found.map(({ digest, kind, size, blobSize, files, damage }) => [
    digest,
    kind === 'tar' ? 'index' : kind,
    formatBytes(size),
    blobSize === undefined ? '-' : formatBytes(blobSize),
    files === undefined ? '-' : String(files),
    damage ?? 'OK',
  ])
  await print(formatTable(['LAYER', 'MADE', 'SIZE', 'BLOB', 'FILES', 'STATE'], rows))
}
