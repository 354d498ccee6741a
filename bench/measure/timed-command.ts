import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export const COMMAND_TIMEOUT = 1_200_000
const SAMPLE_MS = 20

/** What a command took. */
export interface CommandUsage {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakBytes: number
}

/** Time from start to end, processor time of a command and all that it starts, and the sum of their largest memory. */
export async function timedCommand(command: readonly string[]): Promise<CommandUsage> {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null'
  const child = spawn('bash', ['-c', script, 'bench', ...command], { stdio: ['ignore', 'ignore', 'pipe'] })
  const peaks = new Map<number, number>()
  const timer = setInterval(() => notePeaks(child.pid ?? 0, peaks), SAMPLE_MS)
  const limit = setTimeout(() => child.kill(), COMMAND_TIMEOUT)
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  clearInterval(timer)
  clearTimeout(limit)
  const [, real = '', user = '', system = ''] = /([\d.]+) ([\d.]+) ([\d.]+)\n$/.exec(text) ?? []
  if (code !== 0 || real === '') throw new Error(`${command.join(' ')}: exit code ${code}: ${text}`)
  const peakBytes = [...peaks.values()].reduce((sum, bytes) => sum + bytes, 0)
  return { seconds: Number(real), cpuSeconds: Number(user) + Number(system), peakBytes }
}

/** VmHWM only grows, so the last sample before the end of a process is nearly all. */
function notePeaks(pid: number, peaks: Map<number, number>): void {
  for (const child of childrenOf(pid)) {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(textOf(`/proc/${child}/status`))?.[1]
    if (peak !== undefined) peaks.set(child, Number(peak) * 1024)
    notePeaks(child, peaks)
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      textOf(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean).map(Number),
    )
  } catch {
    return []
  }
}

/** Empty for a process that has ended. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
