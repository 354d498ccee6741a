import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'

/** Starts one process for each processor, which uses all of it. @returns ends them */
export function otherWork(): () => void {
  const processes = Array.from({ length: availableParallelism() }, () =>
    spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }),
  )
  return () => {
    for (const process of processes) process.kill('SIGKILL')
  }
}
