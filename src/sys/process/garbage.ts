import { queryObjects, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collector = (options?: object) => void

let collect: Collector | undefined

/** What the collector does where memory is short, from the V8 of Node 22 on. It gives free pages back. */
const LAST_RESORT = { type: 'major', execution: 'sync', flavor: 'last-resort' }
const LAST_RESORT_FROM = 12
const hasLastResort = Number.parseInt(process.versions.v8, 10) >= LAST_RESORT_FROM

/**
 * Collects the garbage of this thread now, which takes some 5 to 10 ms. V8 does it by itself only in threads that return
 * to their event loop. Does nothing where another thread asks V8 for the same at this moment.
 */
export function collectGarbage(): void {
  collector()?.(hasLastResort ? LAST_RESORT : undefined)
}

/**
 * Collects the garbage of this thread, and packs together what is left, so that V8 gives free pages back. For a thread
 * that has nothing else to do: with Node 20 it takes some 50 ms.
 */
export function packHeap(): void {
  if (hasLastResort) {
    collectGarbage()
    return
  }
  // Nothing else makes the V8 of Node 20 do so. Node says that it is an experiment, which is nothing for users to read.
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    queryObjects(Nothing, { format: 'count' })
  } finally {
    process.emitWarning = emitWarning
  }
}

/** V8 collects whatever it can before it counts the objects of a class. */
class Nothing {}

function collector(): Collector | undefined {
  collect ??= findCollector()
  return collect
}

/**
 * V8 gives the function to contexts that are made under a flag, which all threads of the process share: another thread
 * may have taken it back meanwhile.
 */
function findCollector(): Collector | undefined {
  setFlagsFromString('--expose-gc')
  try {
    return runInNewContext('globalThis.gc') as Collector | undefined
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}
