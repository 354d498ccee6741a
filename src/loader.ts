import { closeSync, fstatSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { isMainThread, workerData } from 'node:worker_threads'
import {
  type CodePlace,
  codePlace,
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
  save(): void
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
) => void

const PARAMETERS = 'exports, require, module, __filename, __dirname, __fileUrl, __codeCache, __threadAhead'

/** Starting a thread takes as long as starting Node: the dispatcher starts while its mount is being read and made. */
const NEEDED_BY_MOUNT = 'dispatcher'

/** A program, and how this thread gets at it. */
interface Program {
  readonly name: string
  readonly file: string
  readonly url: string
  /** Programs are pure ASCII. Latin-1 makes a string of one byte a character, without a check. */
  readonly text: string
  /** What V8 compiled of it in an earlier run. */
  readonly code: Uint8Array | undefined
  /** Where that belongs. */
  readonly place: CodePlace | undefined
}

function programByName(name: string): Program {
  const file = join(__dirname, `${name}.cjs`)
  const text = readFileSync(file, 'latin1')
  const place = codePlace(name, text, openCodeFolder)
  const code = place && readCode(place, `/proc/self/fd/${place.folder}`)
  return { name, file, url: pathToFileURL(file).href, text, place, code }
}

/** No path is resolved: the working directory is that of the descriptors. */
function heldProgram({ script, code, codeFolder, gate, name, file, url }: HeldProgram): Program {
  // What Node looks for by path at the start of a thread it has looked for by now.
  Atomics.store(gate, 0, 1)
  Atomics.notify(gate, 0)
  const bytes = Buffer.allocUnsafe(fstatSync(script).size)
  let length = 0
  for (let n = 1; n > 0; length += n) n = readSync(script, bytes, length, bytes.length - length, length)
  const text = bytes.toString('latin1', 0, length)
  return { name, file, url, text, code, place: codePlace(name, text, () => codeFolder) }
}

function load({ name, file, url, text, code, place }: Program): void {
  const ahead = name === 'mount' ? startAhead(NEEDED_BY_MOUNT) : undefined
  const source = `(function (${PARAMETERS}) {${text}\n})`
  const script = new Script(
    source,
    code === undefined ? { filename: file } : { filename: file, cachedData: code },
  )
  const isTaken = code !== undefined && script.cachedDataRejected !== true
  if (place !== undefined && isTaken) closeSync(place.folder)
  const flags = isTaken ? 0 : flagsOfNow()
  let isSaved = false
  function save(): void {
    if (place !== undefined && !isTaken && !isSaved) {
      writeCode(place, flags, script)
      closeSync(place.folder)
    }
    isSaved = true
  }
  const module = { exports: {} }
  const run = script.runInThisContext() as Run
  run(module.exports, require, module, file, __dirname, url, { isTaken, save }, ahead)
}

function startAhead(entry: string): ThreadAhead {
  const thread = startWaiting(__filename, [entry], entry)
  // It keeps no process alive that has not come to serve.
  thread.worker.unref()
  return { entry, thread }
}

const held = (workerData as ThreadStart | null)?.held
if (held !== undefined) load(heldProgram(held))
else load(programByName((isMainThread ? process.argv.splice(1, 2)[1] : process.argv[2]) ?? ''))
