import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { missingProgram } from '../readers/squashfuse.ts'

/** One way to mount an image many times. */
export interface Way {
  readonly name: string
  /** Why it cannot be measured; undefined where it can. */
  missing(): string | undefined
  /** Mounts, and has looked at the root when it returns. */
  mount(image: string, target: string): Promise<void>
}

/** @param runDir of the mounts by this program */
export function allWays(program: string, squashfuse: string, runDir: string): readonly Way[] {
  return [
    ours('own', program, runDir, { ATOMFS_SERVER: undefined }),
    ours('shared', program, runDir, { ATOMFS_SERVER: 'shared' }),
    {
      name: 'squashfuse_ll',
      missing: () => missingProgram(squashfuse),
      mount: async (image, target) => void (await run(squashfuse, [image, target])),
    },
    {
      name: 'kernel',
      missing: () => undefined,
      mount: async (image, target) =>
        void (await run('mount', ['-t', 'squashfs', '-o', 'loop,ro', image, target])),
    },
  ]
}

function ours(
  name: string,
  program: string,
  runDir: string,
  env: Readonly<Record<string, string | undefined>>,
): Way {
  return {
    name,
    missing: () => undefined,
    mount: async (image, target) => {
      // With the variable each Node takes 30 ms longer.
      const variables = { ATOMFS_TEST_RUN_DIR: runDir, NODE_EXTRA_CA_CERTS: undefined, ...env }
      await run(program, ['mount', image, target], { env: variables })
    },
  }
}

/** Mounts of one way, all of the same image. */
export class Mounts {
  readonly targets: string[] = []
  readonly #way: Way
  readonly #image: string
  readonly #directory: string

  constructor(way: Way, image: string, directory: string) {
    this.#way = way
    this.#image = image
    this.#directory = directory
  }

  /** Makes mounts until there are so many. @returns milliseconds that the last one took */
  async grow(count: number): Promise<number> {
    let ms = 0
    while (this.targets.length < count) {
      const target = join(this.#directory, `${this.#way.name}-${this.targets.length}`)
      mkdirSync(target, { recursive: true })
      const start = performance.now()
      await this.#way.mount(this.#image, target)
      statSync(target)
      ms = performance.now() - start
      this.targets.push(target)
    }
    return ms
  }

  /** Unmounts all; servers of ours end. */
  async end(): Promise<void> {
    for (const target of this.targets.splice(0)) {
      await run('umount', [target], { allowFailure: true })
    }
    for (const pid of serversOf(this.#directory)) process.kill(pid, 'SIGTERM')
  }

  /** Bytes of the processes that serve them, shared pages divided among those who have them. */
  memory(): number {
    return serversOf(this.#directory)
      .map((pid) => readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
      .map((text) => Number(/^Pss:\s*(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024)
      .reduce((sum, bytes) => sum + bytes, 0)
  }
}

/** Processes of mounts below a directory: they have a word, or a variable, with its path. */
function serversOf(directory: string): readonly number[] {
  return processes().filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      if (words.startsWith('atomfs-fuse server')) {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(directory)
      }
      return /^(?:atomfs-fuse |\S*squashfuse)/.test(words) && words.includes(directory)
    } catch {
      return false
    }
  })
}

function processes(): readonly number[] {
  const numbers = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  return numbers.filter((pid) => pid !== process.pid)
}

/** Starts a program in each of these folders, and waits for all. @returns milliseconds */
export async function allAtOnce(targets: readonly string[], script: string): Promise<number> {
  const start = performance.now()
  await Promise.all(
    targets.map(async (target) => {
      const child = spawn('sh', ['-c', script, target], { stdio: 'ignore' })
      const [code] = await once(child, 'close')
      if (code !== 0) throw new Error(`${script}: exit code ${code} in ${target}`)
    }),
  )
  return performance.now() - start
}
