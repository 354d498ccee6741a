import { type DaemonProcess, spawnDaemon } from '../../daemon/client/spawn.ts'
import { asksRemount } from './verb.ts'

const COMMANDS = new Set(['mount', 'overlay'])

const NO_DAEMON = new Set(['-f', '--foreground', '-h', '--help', '-V', '--version'])

function needsNoDaemon(word: string): boolean {
  // The process would look for indexes in another store.
  return NO_DAEMON.has(word) || asksRemount(word) || /^--(store|index-dir)/.test(word)
}

/**
 * Starts the daemon of a mount in the background before the command line is parsed: both take tens of ms and there
 * is another CPU. A wrong guess costs a process that ends without its request.
 */
export function startEarly(args: readonly string[]): DaemonProcess | undefined {
  const command = args.find((word) => !word.startsWith('-'))
  if (command === undefined || !COMMANDS.has(command) || args.some(needsNoDaemon)) return undefined
  return spawnDaemon(args)
}
