import '../../sys/plain/own-packages.ts'
import { writeSync } from 'node:fs'
import { mountByServer, sweepAfter, Untrusted } from '../../daemon/shared/client.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { holdDescriptors } from '../../sys/plain/proc.ts'
import { saveCompiledCode } from '../../sys/process/code-cache.ts'
import { exitNow } from '../../sys/process/exit.ts'
import { isJournal } from '../../sys/process/journal.ts'
import { commandLine } from '../command-line.ts'
import { formatWarnings } from '../print/format.ts'
import { sendLines } from './answer.ts'
import { readAskWords } from './ask-words.ts'

/**
 * Entry of the process that the launcher starts where a shared server may be wanted (bin/atomfs-fuse): it asks the server,
 * mounts for it, answers and ends. Where it ends without an answer, the launcher goes on with an own server.
 */

/** Standard error of the launcher's caller. That of this process is /dev/null. */
const CALLER_STDERR = 3

async function main(): Promise<number> {
  // The same words as for a process that serves: who asks for it, and descriptors that were left open.
  process.argv.splice(1, 2)
  const program = process.argv[1] ?? ''
  const words = commandLine()
  const asked = readAskWords(program, words, process.env['ATOMFS_SERVER'])
  // A service whose stderr is the journal logs there; the log of a shared server is elsewhere.
  if (asked === undefined || asked.target.includes('\n') || isJournal(CALLER_STDERR)) return 1
  const answer = await mountByServer({ program, words, ...asked })
  if (answer === undefined) return 1
  const { target, owner, ignored, warnings } = answer
  sendLines('shared', target, owner, ignored, warnings)
  // The launcher waits for the end of the pipe. Standard input is /dev/null.
  replaceDescriptor(0, 1)
  // Whoever reads the messages of the launcher waits for the end of that pipe.
  replaceDescriptor(0, CALLER_STDERR)
  await sweepAfter(answer)
  // The code is written through a descriptor.
  holdDescriptors()
  saveCompiledCode()
  return 0
}

main().then(exitNow, (error: unknown) => {
  // An own server takes all other reasons for its own, and says them.
  if (error instanceof Untrusted) {
    const text = `no shared server, this mount has its own: ${error.message}`
    writeSync(1, `refused\n${formatWarnings([text])}`)
  }
  exitNow(1)
})
