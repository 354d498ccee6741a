import { decodePath, type Name, type PathText, ROOT_NODE_ID } from '../base/index.ts'
import { type Contents, type ContentsRequest, openContents } from '../contents/index.ts'
import { type FoundFile, MergedEntries } from './merged-entries.ts'
import { byPriority } from './selection/by-priority.ts'
import type { Exclusion } from './selection/exclusion.ts'
import type { Priorities } from './selection/priorities.ts'
import type { LeftOut, TreeItem } from './tree-item.ts'

export interface ImageTreeOptions {
  readonly exclude?: Exclusion | undefined
  /** As `HostTreeOptions` has them. */
  readonly priorities?: Priorities | undefined
  /** As `MergedEntriesOptions` has it. */
  readonly form?: 'layer' | 'stored' | undefined
}

/**
 * Opens an image whose tree goes into another one.
 * @param subdir path of the directory that is wanted, from the root of what the request names
 * @throws FsError as a mount; ENOENT, ENOTDIR for the directory
 */
export function openImageTree(request: ContentsRequest, subdir: Name = ''): Contents {
  if (subdir === '') return openContents(request)
  const below = decodePath(Buffer.from(subdir, 'latin1'))
  const { subdir: above } = request.options ?? {}
  const both: PathText = above === undefined ? below : `${above}/${below}`
  return openContents({ ...request, options: { ...request.options, subdir: both } })
}

/** All that a mount of an image would show. The image stays open as long as its items are used. @throws FsError EIO */
export function* imageTree(
  { fileSystem, store }: Contents,
  leftOut: LeftOut,
  { exclude, priorities, form = 'stored' }: ImageTreeOptions = {},
): Generator<TreeItem> {
  const entries = new MergedEntries(fileSystem, store, { leftOut, exclude, form })
  if (priorities === undefined) {
    yield* entries.items()
    return
  }
  const tree = {
    files: () => entries.files('', ROOT_NODE_ID),
    items: (isPassedOver: (path: Name) => boolean) => entries.items(isPassedOver),
    itemsOf: (file: FoundFile) => [entries.item(file)],
  }
  yield* byPriority(tree, priorities)
}
