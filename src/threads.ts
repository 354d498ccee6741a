import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'

/**
 * The programs that a mount or a verification starts, each in a thread or a process of its own: the name of its bundle
 * in dist/, and its source, below src/. The build and the tests read this table, too.
 */
export const ENTRIES = {
  /** The process that the launcher starts for a mount in the background, and that serves it; or the mounts of many clients. */
  mount: 'cli/direct/main.ts',
  /** The process that the launcher starts for a mount by a shared server, and that asks for it. */
  ask: 'cli/direct/ask.ts',
  /** What that process loads, in the same thread, for a mount of directories. */
  'open-directories': 'daemon/shared/open-directories.ts',
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

/** Entries that `src/loader.ts` loads, with the code that V8 compiled before: every mount waits for them. */
export const LOADED = ['mount', 'ask', 'dispatcher', 'data-worker'] as const satisfies readonly EntryName[]

/** The file of an entry: a bundle beside the one that runs, or the source where the sources themselves run. */
export function entryUrl(name: EntryName): URL {
  return programFile(name).file
}

/** What Node has to run for an entry, and the words that it needs. */
export function programFile(name: EntryName): { readonly file: URL; readonly words: readonly string[] } {
  if (import.meta.url.endsWith('.ts'))
    return { file: new URL(`./${ENTRIES[name]}`, import.meta.url), words: [] }
  if (isLoaded(name)) return { file: new URL('./loader.cjs', import.meta.url), words: [name] }
  return { file: new URL(`./${bundleName(name)}`, import.meta.url), words: [] }
}

/** The file name of an entry in dist/. */
export function bundleName(name: EntryName): string {
  return `${name}.${isLoaded(name) ? 'cjs' : 'js'}`
}

function isLoaded(name: EntryName): boolean {
  return LOADED.some((one) => one === name)
}

/** A program in `LOADED` for a thread that may resolve no path: its files are open. */
export interface HeldProgram {
  readonly name: EntryName
  /** Descriptor of the program, and the path and address of its file. */
  readonly script: number
  readonly file: string
  readonly url: string
  /** Its compiled code, if there is some (`src/sys/plain/compiled-code.ts`). */
  readonly code: Uint8Array | undefined
  /** Descriptor of the folder for it; the thread closes this. */
  readonly codeFolder: number | undefined
  /** The first word becomes 1 when the first line runs. */
  readonly gate: Int32Array
}

/** What a thread has at its start: where its data come from (`src/drivers/builtin/thread-data.ts`). */
export interface ThreadStart {
  readonly name: string
  /** The first word becomes 1 when the data are there. */
  readonly gate: Int32Array
  readonly port: MessagePort
  /** Of a thread that may resolve no path. */
  readonly held?: HeldProgram | undefined
}

/** A thread that may have been started before its data were known. */
export interface StartedThread {
  readonly worker: Worker
  give(data: object): void
}

/**
 * Heap of one thread, MiB. Large data (decoded blocks, replies) lies outside of the heap and has bounds of its own. A
 * small young generation keeps short-lived objects from spreading over memory that then stays resident.
 */
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 512 }

/** An entry that is loaded, and what loads it. */
export interface LoadedScript {
  readonly file: URL
  readonly loader: URL
}

/** The bundle of an entry that `src/loader.ts` loads; undefined where the sources themselves run. */
export function loadedScript(name: (typeof LOADED)[number]): LoadedScript | undefined {
  if (import.meta.url.endsWith('.ts')) return undefined
  return {
    file: new URL(`./${bundleName(name)}`, import.meta.url),
    loader: new URL('./loader.cjs', import.meta.url),
  }
}

/**
 * Starts a thread of a mount, which loads its code and waits for its data.
 * @param held the program of the thread; makes `file` the text of `src/loader.ts`, which runs it
 */
export function startWaiting(
  file: string | URL,
  words: readonly string[],
  name: string,
  held?: HeldProgram,
): StartedThread {
  const { port1, port2 } = new MessageChannel()
  // Neither end keeps the event loop alive.
  port1.unref()
  const gate = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const worker = new Worker(file, {
    name,
    argv: [...words],
    workerData: { name, gate, port: port2, held } satisfies ThreadStart,
    eval: held !== undefined,
    transferList: [port2],
    resourceLimits: HEAP_LIMITS,
    // This program opens descriptors by system calls as well: Node would warn each time a thread closes one.
    trackUnmanagedFds: false,
  })
  return {
    worker,
    give: (data) => {
      port1.postMessage(data)
      Atomics.store(gate, 0, 1)
      Atomics.notify(gate, 0)
      port1.close()
    },
  }
}
