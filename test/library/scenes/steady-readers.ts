import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { bundleProgram } from '../trees/walk-child.ts'

/** A file of a mount, by its path in it. */
export interface KnownFile {
  readonly path: string
  readonly sha256: string
}

/** What a reader saw from its start to its end. */
export interface ReaderReport {
  /** Whole files, and names. */
  readonly reads: number
  readonly looks: number
  /** EIO. */
  readonly refused: number
  /** Whether every file could be read in the end. */
  readonly again: boolean
  /** Other errors, and other bytes. */
  readonly wrong: readonly string[]
  /** Names of the folders that were open all the time. */
  readonly listed: Readonly<Record<string, readonly string[]>>
}

/** A file as readers are told of it. */
export function knownFile(path: string, content: Uint8Array): KnownFile {
  return { path, sha256: createHash('sha256').update(content).digest('hex') }
}

/** Programs that read a mount while something happens to its server. */
export class SteadyReaders {
  readonly #children: ChildProcessByStdio<Writable, Readable, null>[] = []

  /** @returns when they hold all folders and files open, and read */
  async start(count: number, root: string, files: readonly KnownFile[]): Promise<void> {
    const program = await bundleProgram(fileURLToPath(new URL('steady-readers-main.ts', import.meta.url)))
    for (let i = 0; i < count; i++) {
      const words = [program, root, JSON.stringify(files)]
      const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] })
      this.#children.push(child)
      await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) })
    }
  }

  /** Ends them. @returns what they saw */
  async end(): Promise<ReaderReport[]> {
    return await Promise.all(
      this.#children.splice(0).map(async (child) => {
        const pieces: Buffer[] = []
        child.stdout.on('data', (piece: Buffer) => pieces.push(piece))
        const closed = once(child, 'close', { signal: AbortSignal.timeout(30_000) })
        child.stdin.end()
        await closed
        return JSON.parse(Buffer.concat(pieces).toString()) as ReaderReport
      }),
    )
  }

  /** To be called in any case. */
  kill(): void {
    for (const child of this.#children.splice(0)) child.kill('SIGKILL')
  }
}
