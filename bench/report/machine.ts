import { spawnSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'

/** What a result depends on, beside the code. Names nobody and no place. */
export interface MachineFacts {
  readonly date: string
  readonly commit: string
  readonly cpu: string
  readonly cores: number
  readonly memoryMib: number
  readonly kernel: string
  readonly node: string
  /** Runnable processes at the start, over one minute. */
  readonly load: number
  readonly tools: Readonly<Record<string, string>>
}

export function machineFacts(repository: string, now: Date, squashfuseLl: string): MachineFacts {
  const model = cpus()[0]?.model ?? 'unknown'
  return {
    date: now.toISOString(),
    commit: commitOf(repository),
    cpu: model,
    cores: cpus().length,
    memoryMib: Math.round(totalmem() / 2 ** 20),
    kernel: `${release()}${decompressors()}`,
    node: process.version,
    load: loadavg()[0] ?? 0,
    tools: {
      squashfuse_ll: firstLine(squashfuseLl, '-V', /\d+\.[\d.]+/),
      'fuse-overlayfs': firstLine('fuse-overlayfs', '--version', /version \d[\d.]*/),
      mksquashfs: firstLine('mksquashfs', '-version', /\d[\d.]+/),
      fio: firstLine('fio', '--version', /\d[\d.]+/),
    },
  }
}

function commitOf(repository: string): string {
  const git = (...args: readonly string[]): string =>
    spawnSync('git', ['-C', repository, ...args], { encoding: 'utf8', timeout: 20_000 }).stdout ?? ''
  const commit = git('rev-parse', '--short=12', 'HEAD').trim()
  if (commit === '') return 'unknown'
  return git('status', '--porcelain').trim() === '' ? commit : `${commit} with changes`
}

/** How many threads of the kernel may decompress one image at a time: decides much of its rows. */
function decompressors(): string {
  const { stdout } = spawnSync('zcat', ['/proc/config.gz'], { encoding: 'utf8', maxBuffer: 2 ** 24 })
  const match = /CONFIG_SQUASHFS_COMPILE_DECOMP_(\w+)=y/.exec(stdout ?? '')
  return match?.[1] === undefined ? '' : `, squashfs decompressor: ${match[1].toLowerCase()}`
}

function firstLine(program: string, argument: string, pattern = /.+/): string {
  const { stdout, stderr, error } = spawnSync(program, [argument], { encoding: 'utf8', timeout: 10_000 })
  if (error !== undefined) return 'not installed'
  return pattern.exec(`${stdout}${stderr}`)?.[0] ?? 'unknown'
}

export function describeMachine(machine: MachineFacts): string[] {
  const tools = Object.entries(machine.tools).map(([name, version]) => `${name}: ${version}`)
  return [
    `${machine.cpu}, ${machine.cores} processors, ${machine.memoryMib} MiB, Linux ${machine.kernel}`,
    `Node ${machine.node}, commit ${machine.commit}, ${machine.date}, load ${machine.load.toFixed(1)}`,
    tools.join('; '),
  ]
}

/** The load of this machine makes results doubtful. */
export function isBusy(machine: MachineFacts): boolean {
  return machine.load > 0.5 * machine.cores
}
