import { readFileSync } from 'node:fs'
import { isMainThread, Worker } from 'node:worker_threads'
import { openLibraryDeeply } from '../../src/sys/ffi/deep-library.ts'

/** For `libraries.test.ts`: says whether a library is loaded before a thread opens it, and after that thread has ended. */
const [, program = '', name = ''] = process.argv

function isLoaded(): boolean {
  return readFileSync('/proc/self/maps', 'latin1').includes(`/${name}`)
}

if (isMainThread) {
  const before = isLoaded()
  const thread = new Worker(program, { argv: [name] })
  thread.on('exit', (status) => console.log(JSON.stringify({ status, before, after: isLoaded() })))
} else {
  const library = openLibraryDeeply(name)
  process.exit(library?.bind('int LZ4_versionNumber(void)')() === undefined ? 1 : 0)
}
