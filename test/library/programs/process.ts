import { spawn } from 'node:child_process'

export interface RunOptions {
  /** Milliseconds, 60 000 if absent. The child is killed then and the call fails. */
  readonly timeout?: number
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly input?: Uint8Array | string
  /** Resolve with a status other than 0 instead of failing. */
  readonly allowFailure?: boolean
}

export interface RunResult {
  /** Exit status; -1 where a signal ended the child. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** Standard output as it came. */
  readonly bytes: Buffer
}

/**
 * Runs a program to its end. The wait is bounded even where the child cannot be killed (a process in an
 * uninterruptible sleep), because it is the pipes and the timer that are waited for.
 * @throws Error on a time-out, on a failed start, and on a status other than 0 unless `allowFailure`.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeout = 60_000, cwd, env, input, allowFailure = false } = options
  const line = [command, ...args].join(' ')
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, LC_ALL: 'C', ...env },
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      child.stdout.destroy()
      child.stderr.destroy()
      child.unref()
      reject(
        new Error(`${line}: no end after ${timeout} ms; stderr: ${Buffer.concat(stderr).toString().trim()}`),
      )
    }, timeout)
    child.stdout.on('data', (piece: Buffer) => stdout.push(piece))
    child.stderr.on('data', (piece: Buffer) => stderr.push(piece))
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(new Error(`${line}: ${error.message}`, { cause: error }))
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const bytes = Buffer.concat(stdout)
      const result = {
        status: code ?? -1,
        stdout: bytes.toString(),
        stderr: Buffer.concat(stderr).toString(),
        bytes,
      }
      if (result.status === 0 || allowFailure) resolve(result)
      else
        reject(
          new Error(`${line}: ${signal ?? `status ${code}`}: ${(result.stderr || result.stdout).trim()}`),
        )
    })
    // A child that ends without reading its input is not our failure: its status tells.
    child.stdin.on('error', () => {})
    child.stdin.end(input ?? '')
  })
}
