import { createReadStream, createWriteStream, fstatSync } from 'node:fs'
import { finished, type Readable, type Writable } from 'node:stream'
import { FsError } from '../../base/index.ts'

/** How the standard streams of a child are made: as ours, or as pipes to ours. */
export type StreamChoice = 'inherit' | 'pipe'

/**
 * Runtimes give the standard streams of a container to its user (fchown(2)), which would change the owner of a file of the
 * caller: files come by a pipe. Terminals and pipes are handed on as they are.
 */
export function chooseStreams(): readonly [StreamChoice, StreamChoice, StreamChoice] {
  return [choose(0), choose(1), choose(2)]
}

function choose(fd: number): StreamChoice {
  try {
    return fstatSync(fd).isFile() ? 'pipe' : 'inherit'
  } catch {
    return 'inherit'
  }
}

/** Joins the pipes of a child with our streams. @returns resolves when all output of the child was written */
export async function joinStreams(child: {
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
}): Promise<void> {
  if (child.stdin !== null) {
    const input = createReadStream('', { fd: 0, autoClose: false })
    // The child may end before it has read all.
    child.stdin.on('error', () => input.destroy())
    input.on('error', () => child.stdin?.destroy())
    input.pipe(child.stdin)
  }
  await Promise.all([drain(child.stdout, 1), drain(child.stderr, 2)])
}

async function drain(from: Readable | null, fd: number): Promise<void> {
  if (from === null) return
  const to = createWriteStream('', { fd, autoClose: false })
  await new Promise<void>((resolve, reject) => {
    to.on('error', (error: NodeJS.ErrnoException) => {
      from.destroy()
      reject(new FsError('EIO', `output of the container cannot be written: ${error.code ?? error.message}`))
    })
    finished(to, () => resolve())
    from.pipe(to)
  })
}
