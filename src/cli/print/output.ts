import { codeOf } from '../../base/index.ts'

/**
 * Writes to standard output, and resolves when all of it is out: the program exits as soon as a command has ended, and
 * a pipe takes 64 KiB at once. A reader that has gone away is no error, as `head` does it.
 * @throws an error of `node:fs`, such as ENOSPC
 */
export function print(text: string): Promise<void> {
  const { stdout } = process
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => (codeOf(error) === 'EPIPE' ? resolve() : reject(error))
    stdout.once('error', onError)
    stdout.write(text, (error) => {
      if (error) return
      stdout.off('error', onError)
      resolve()
    })
  })
}
