import { parentPort, type Worker } from 'node:worker_threads'

/** What a thread gets when it is to end. */
const END = 'end'

/**
 * Makes a thread of `answerUntilEnd` end by itself, and waits for it. `Worker.terminate` may stop a thread while it loads
 * the package for foreign functions, whose start then ends the whole process (SIGABRT).
 */
export async function endThread(worker: Worker): Promise<void> {
  // It has ended.
  if (worker.threadId < 0) return
  await new Promise<void>((resolve) => {
    worker.once('exit', () => resolve())
    worker.postMessage(END)
  })
}

/** Handles what this thread is sent, until `endThread`. */
export function answerUntilEnd<T>(handle: (message: T) => void): void {
  parentPort?.on('message', (message: T | typeof END) => {
    if (message === END) parentPort?.close()
    else handle(message as T)
  })
}
