import type { Worker } from 'node:worker_threads'
import { type EntryName, programFile, type StartedThread, startWaiting } from '../../threads.ts'

/** The thread that `src/loader.ts` started before it loaded this program; absent where a program runs without it. */
declare const __threadAhead: { entry: string; thread: StartedThread | undefined } | undefined

/** Starts a thread of this program. @param data what `threadData` gives it */
export function startThread(entry: EntryName, name: string, data: object): Worker {
  const thread = takeAhead(entry) ?? startNow(entry, name)
  thread.worker.ref()
  thread.give(data)
  return thread.worker
}

function startNow(entry: EntryName, name: string): StartedThread {
  const { file, words } = programFile(entry)
  return startWaiting(file, words, name)
}

function takeAhead(entry: EntryName): StartedThread | undefined {
  if (typeof __threadAhead === 'undefined' || __threadAhead.entry !== entry) return undefined
  const { thread } = __threadAhead
  __threadAhead.thread = undefined
  return thread
}
