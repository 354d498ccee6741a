import { existsSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { BlockRef, BlockStore } from '../../base/index.ts'
import type { AnswerTarget, RequestCounter } from '../../fuse/index.ts'
import { pause } from '../../sys/plain/pause.ts'

/** Variable of the environment that names a folder, for tests: a file in it, called as a thread, makes such a thread die. */
const VARIABLE = 'ATOMFS_TEST_FAULTS'

/** Doubles of one array: large enough to be quick, small enough for V8 to end the thread alone (docs/limits.md). */
const DOUBLES = 65_536

/** Kills the calling thread where the test wants it. @param request what is handled */
export type Fault = (request?: Buffer) => void

/**
 * A fault for tests of what follows. The file says `memory` or `throw`, and is removed by the thread that dies. With a
 * second word it stays, and a thread dies whenever a request has that word in it.
 * @param kinds what the caller can do
 * @returns undefined without the variable
 */
export function testFault(
  thread: 'dispatcher' | 'data-worker',
  kinds: readonly string[] = ['memory', 'throw'],
): Fault | undefined {
  const folder = process.env[VARIABLE]
  if (!folder) return undefined
  const file = join(folder, thread)
  let isDead = false
  return (request) => {
    if (isDead) throw new Error('a bug for a test')
    const [kind = '', word] = wordsOf(file)
    if (!kinds.includes(kind) || (word !== undefined && request?.includes(word) !== true)) return
    if (word === undefined && !take(file)) return
    if (kind === 'memory') runOut()
    isDead = true
    throw new Error('a bug for a test')
  }
}

/** For tests on a newer kernel: whether it shall be treated as one that cannot send requests again. */
export function lacksResend(): boolean {
  const folder = process.env[VARIABLE]
  return folder !== undefined && folder !== '' && existsSync(join(folder, 'no-resend'))
}

/** Dies in a request that was handled and has no answer yet. @param request gives its bytes */
export function dyingCounter(counter: RequestCounter, fault: Fault, request: () => Buffer): RequestCounter {
  return {
    add: (name, amount) => counter.add(name, amount),
    addRequest(opcode) {
      counter.addRequest(opcode)
      const bytes = request()
      // Behind it lies what came before.
      fault(bytes.subarray(0, bytes.readUInt32LE(0)))
    },
  }
}

/** Between two looks of a worker that waits. */
const LOOK_MS = 20

/** A worker that finds `stall` in its file waits, as for a slow disk, until there is a file `stall-over`. */
function stallHere(): void {
  const folder = process.env[VARIABLE] ?? ''
  const file = join(folder, 'data-worker')
  if (wordsOf(file)[0] !== 'stall' || !take(file)) return
  while (!existsSync(join(folder, 'stall-over'))) pause(LOOK_MS)
}

/** A worker that dies where it answers, or where it decodes: by a bug before the first, of a lack of memory in the second. */
export function dyingWorker<T extends AnswerTarget, S extends BlockStore>(
  target: T,
  store: S,
): readonly [T, S] {
  const bug = testFault('data-worker', ['throw'])
  const lack = testFault('data-worker', ['memory'])
  if (bug === undefined || lack === undefined) return [target, store]
  const begin = target.begin.bind(target)
  target.begin = (token) => {
    bug()
    begin(token)
  }
  const readBlock = store.readBlock.bind(store)
  const dying = (block: BlockRef, to: Uint8Array): number => {
    lack()
    stallHere()
    return readBlock(block, to)
  }
  return [target, { ...store, readBlock: dying }]
}

function wordsOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'latin1').split(' ')
  } catch {
    return []
  }
}

/** @returns false where another thread was first */
function take(file: string): boolean {
  try {
    unlinkSync(file)
    return true
  } catch {
    return false
  }
}

function runOut(): never {
  const held: number[][] = []
  for (;;) held.push(new Array<number>(DOUBLES).fill(held.length + 0.5))
}
