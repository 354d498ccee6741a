import { existsSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { RequestCounter } from '../../fuse/index.ts'

/** Variable of the environment that names a folder, for tests: a file in it, called as a thread, makes such a thread die. */
const VARIABLE = 'ATOMFS_TEST_FAULTS'

/** Doubles of one array: large enough to be quick, small enough for V8 to end the thread alone (docs/limits.md). */
const DOUBLES = 65_536

/** Kills the calling thread where the test wants it. @param request what is handled */
export type Fault = (request?: Buffer) => void

/**
 * A fault for tests of what follows. The file says `memory` or `throw`, and is removed by the thread that dies. With a
 * second word it stays, and a thread dies whenever a request has that word in it.
 * @returns undefined without the variable
 */
export function testFault(thread: 'dispatcher' | 'data-worker'): Fault | undefined {
  const folder = process.env[VARIABLE]
  if (!folder) return undefined
  const file = join(folder, thread)
  let isDead = false
  return (request) => {
    if (isDead) throw new Error('a bug for a test')
    const [kind, word] = take(file)
    if (kind === undefined || (word !== undefined && request?.includes(word) !== true)) return
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
      fault(request())
    },
  }
}

/** @returns the words of the file, which only one thread gets if it is there for one death */
function take(file: string): readonly string[] {
  try {
    const words = readFileSync(file, 'latin1').split(' ')
    if (words.length === 1) unlinkSync(file)
    return words
  } catch {
    return []
  }
}

function runOut(): never {
  const held: number[][] = []
  for (;;) held.push(new Array<number>(DOUBLES).fill(held.length + 0.5))
}
