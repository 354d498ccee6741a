/**
 * The programs that a mount or a verification starts, each in a thread or a process of its own: the name of its bundle
 * in dist/, and its source, below src/. The build and the tests read this table, too.
 */
export const ENTRIES = {
  /** The process that serves one mount in the background. */
  daemon: 'daemon/life/main.ts',
  dispatcher: 'drivers/builtin/dispatcher-thread.ts',
  'data-worker': 'drivers/builtin/data-worker-thread.ts',
  /** Verifies a range of an image. */
  scan: 'molecule/scan-thread.ts',
  /** Compresses blocks for an image that is being made. */
  compressor: 'make/compress-thread.ts',
  /** Decodes files of images and writes them. */
  writer: 'contents/extract/write-thread.ts',
} as const

export type EntryName = keyof typeof ENTRIES

/** The file of an entry: a bundle beside the one that runs, or the source where the sources themselves run. */
export function entryUrl(name: EntryName): URL {
  const runsSources = import.meta.url.endsWith('.ts')
  return new URL(runsSources ? `./${ENTRIES[name]}` : `./${name}.js`, import.meta.url)
}
