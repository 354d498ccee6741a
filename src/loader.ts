import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { isMainThread, workerData } from 'node:worker_threads'
import {
  type CodePlace,
  type CompiledCode,
  codePlace,
  flagsOf,
  flagsOfNow,
  openCodeFolder,
  readCode,
  writeCode,
} from './sys/plain/compiled-code.ts'
import { type HeldProgram, type StartedThread, startWaiting, type ThreadStart } from './threads.ts'

/**
 * Runs one program of dist/ in this process or thread: `node loader.cjs NAME WORDS…`, a thread with the words `[NAME]`,
 * or a thread whose text this file is, with a program that is held open. What V8 compiled of it in an earlier run is
 * taken from a cache (docs/adr/0030-one-process.md).
 */

/** The compiled code of the program that this thread runs: what `src/sys/process/code-cache.ts` sees of it. */
interface CodeCache {
  readonly isTaken: boolean
  /** Writes it, where the cache has none for all of these kinds of work. */
  save(kinds?: bigint): void
  /** Closes what `save` needs. */
  leave(): void
}

/** A thread that every run of a program needs: what `src/drivers/builtin/start-thread.ts` sees of it. */
interface ThreadAhead {
  readonly entry: string
  thread: StartedThread | undefined
}

type Run = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  filename: string,
  directory: string,
  fileUrl: string,
  codeCache: CodeCache,
  threadAhead: ThreadAhead | undefined,
  importModule: (url: string) => Promise<unknown>,
) => void

const OPENING =
  '(function (exports, require, module, __filename, __dirname, __fileUrl, __codeCache, __threadAhead, __import) {'
const CLOSING = '\n})'
/** So many bytes of a program hold its digest. */
const HEAD = 64

/** The client of a shared server. It has one thread, and what knows of threads is not loaded for it: 1 ms. */
const CLIENT = 'ask'

/** Starting a thread takes as long as starting Node: this one starts while its mount is being read and made. */
const DISPATCHER = 'dispatcher'

/** A program, and how this thread gets at it. */
interface Program {
  readonly name: string
  readonly file: string
  readonly url: string
  /** A function of its text. */
  readonly source: string
  /** What V8 compiled of it in an earlier run. */
  readonly code: CompiledCode | undefined
  /** Where that belongs. */
  readonly place: CodePlace | undefined
}

function programByName(name: string): Program {
  const file = join(__dirname, `${name}.cjs`)
  const fd = openSync(file, 'r')
  const { head, source } = read(fd)
  closeSync(fd)
  const place = codePlace(name, head, openCodeFolder)
  const code = place && readCode(place, `/proc/self/fd/${place.folder}`)
  return { name, file, url: pathToFileURL(file).href, source, place, code }
}

/** No path is resolved: the working directory is that of the descriptors. */
function heldProgram({ script, code, codeFolder, gate, name, file, url }: HeldProgram): Program {
  // What Node looks for by path at the start of a thread it has looked for by now.
  Atomics.store(gate, 0, 1)
  Atomics.notify(gate, 0)
  const { head, source } = read(script)
  const compiled = code && { data: Buffer.from(code.buffer, code.byteOffset, code.length), kinds: 0n }
  return { name, file, url, source, code: compiled, place: codePlace(name, head, () => codeFolder) }
}

/**
 * The source stays in memory for as long as its thread lives. So it is put together before it becomes a string, and the
 * head is a string of its own: a piece of a string keeps all of it.
 */
function read(fd: number): { readonly head: string; readonly source: string } {
  const start = OPENING.length
  const bytes = Buffer.allocUnsafe(start + fstatSync(fd).size + CLOSING.length)
  bytes.write(OPENING, 'latin1')
  let end = start
  for (let n = 1; n > 0; end += n) n = readSync(fd, bytes, end, bytes.length - end, end - start)
  end += bytes.write(CLOSING, end, 'latin1')
  // Programs are pure ASCII. Latin-1 makes a string of one byte a character, without a check.
  return { head: bytes.toString('latin1', start, start + HEAD), source: bytes.toString('latin1', 0, end) }
}

/** @returns runs the program; it holds neither what was read nor the code from the cache, which V8 has copied */
function load({ name, file, url, source, code, place }: Program): () => void {
  const ahead = name === 'mount' ? startAhead(DISPATCHER) : undefined
  const script = new Script(
    source,
    code === undefined ? { filename: file } : { filename: file, cachedData: code.data },
  )
  const taken = script.cachedDataRejected === true ? undefined : code
  const codeCache = place === undefined ? NO_CACHE : cacheAt(place, script, taken)
  // Only some dispatchers do what is in no cache yet.
  if (taken !== undefined && name !== DISPATCHER) codeCache.leave()
  const run = script.runInThisContext() as Run
  const module = { exports: {} }
  return () => run(module.exports, require, module, file, __dirname, url, codeCache, ahead, importModule)
}

/** Compiled code does not know who imports for it. */
function importModule(url: string): Promise<unknown> {
  return import(url)
}

const NO_CACHE: CodeCache = { isTaken: false, save: () => undefined, leave: () => undefined }

/** @param taken what the program was loaded with, which is not kept */
function cacheAt(place: CodePlace, script: Script, taken: CompiledCode | undefined): CodeCache {
  const isTaken = taken !== undefined
  const flags = isTaken ? flagsOf(taken.data) : flagsOfNow()
  /** Absent while there is no code. */
  let saved = taken?.kinds
  let isOpen = true
  return {
    isTaken,
    save(kinds = 0n) {
      if (!isOpen || (saved !== undefined && (kinds & ~saved) === 0n)) return
      saved = kinds | (saved ?? 0n)
      writeCode(place, flags, script, saved)
    },
    leave() {
      if (isOpen) closeSync(place.folder)
      isOpen = false
    },
  }
}

function startAhead(entry: string): ThreadAhead {
  const thread = startWaiting(__filename, [entry], entry)
  // It keeps no process alive that has not come to serve.
  thread.worker.unref()
  return { entry, thread }
}

/** A function of its own: what it held is garbage when the program runs, which may be until the end of its thread. */
function loaded(): () => void {
  if (process.argv[2] === CLIENT) {
    process.argv.splice(1, 2)
    return load(programByName(CLIENT))
  }
  const held = (workerData as ThreadStart | null)?.held
  if (held !== undefined) return load(heldProgram(held))
  return load(programByName((isMainThread ? process.argv.splice(1, 2)[1] : process.argv[2]) ?? ''))
}

loaded()()
