import { availableParallelism } from 'node:os'
import { setImmediate } from 'node:timers/promises'
import { FsError, type PathText } from '../../base/index.ts'
import { type ContentsRequest, openContents, prepareContents } from '../source-contents.ts'
import { Extraction } from './extraction.ts'
import { openRoot } from './folder.ts'
import { type Owners, possibleOwners } from './owners.ts'
import type { ExtractListener, ExtractReport } from './report.ts'
import { Selection } from './selection.ts'

/** What is to be extracted, and where to. */
export interface ExtractRequest extends ContentsRequest {
  /** A directory that is empty or does not exist. */
  readonly directory: PathText
  /** Paths from the root of the image, with `*`, `?` and `[…]` in names; all if absent or empty. */
  readonly paths?: readonly PathText[] | undefined
  /** By default what the caller may do: `real` as root, else `none`. */
  readonly owners?: Owners | undefined
  /** Extracts into a directory that has something in it, and replaces files. */
  readonly force?: boolean | undefined
  /** Threads that decode and write; as many as there are CPUs if absent. */
  readonly threads?: number | undefined
  /** Ends the work; it then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Extracts the tree that a mount of a source would show. A file has its name only when it is whole. Nothing is written
 * outside of the directory, whoever changes what in it meanwhile.
 * @throws FsError where the source cannot be opened, ENOTEMPTY for the directory, and ENOSPC and its like, which end it;
 *   ENOENT for a path that is not in the image
 */
export async function extractSource(
  request: ExtractRequest,
  listener: ExtractListener = {},
): Promise<ExtractReport> {
  const { signal, threads = availableParallelism(), owners = possibleOwners(), force = false } = request
  signal?.throwIfAborted()
  const selection = new Selection(request.paths ?? [])
  await prepareContents(request, signal)
  const contents = openContents(request)
  try {
    const root = openRoot(request.directory, force, threads)
    const manner = { owners, replaces: force }
    const extraction = new Extraction(contents, root, { ...listener, manner, threads })
    try {
      for (const _ of extraction.walk(selection.root)) {
        signal?.throwIfAborted()
        await extraction.room()
        await setImmediate()
      }
      await extraction.finish()
    } finally {
      await extraction.close()
    }
    for (const path of selection.missing) {
      extraction.fail(path, new FsError('ENOENT', 'is not in the image'))
    }
    return { ...extraction.counts, owners }
  } finally {
    contents.close()
  }
}
