import { writeFileSync } from 'node:fs'
import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { descriptorsAreHeld, procPath } from '../../sys/plain/proc.ts'
import type { ThreadStart } from '../../threads.ts'

/**
 * The data of this thread, which may be started before they are known. Waits for them, and gives the thread its name;
 * to be called once.
 */
export function threadData<T extends object>(): T {
  const { name, gate, port } = workerData as ThreadStart
  Atomics.wait(gate, 0, 0)
  const data = receiveMessageOnPort(port)?.message as T
  port.close()
  descriptorsAreHeld()
  nameThread(name)
  return data
}

/** What `top -H` shows: `/proc/PID/task/TID/comm` (proc_pid_comm(5)), 15 bytes of it. */
function nameThread(name: string): void {
  try {
    writeFileSync(procPath('thread-self/comm'), name)
  } catch {
    // A name is for people.
  }
}
