import { type PathText, printable } from '../../base/index.ts'
import { restoreAtEnd } from '../print/restore-at-end.ts'

/** As many as cryptsetup takes from a terminal. */
const MOST_BYTES = 512

const KEYS = {
  interrupt: 0x03,
  end: 0x04,
  backspace: 0x08,
  newline: 0x0a,
  return: 0x0d,
  clear: 0x15,
  delete: 0x7f,
} as const

/** What a line of typed bytes has come to. */
export type Typed = 'more' | 'done' | 'interrupted'

/** A line that is typed and not shown. Bytes, because a passphrase need not be text. */
export class HiddenLine {
  readonly #room = Buffer.alloc(MOST_BYTES)
  #length = 0

  /** A copy of what was typed. */
  get bytes(): Buffer {
    return Buffer.from(this.#room.subarray(0, this.#length))
  }

  type(byte: number): Typed {
    switch (byte) {
      case KEYS.newline:
      case KEYS.return:
      case KEYS.end:
        return 'done'
      case KEYS.interrupt:
        return 'interrupted'
      case KEYS.clear:
        this.wipe()
        return 'more'
      case KEYS.backspace:
      case KEYS.delete:
        this.#removeLast()
        return 'more'
      default:
        if (this.#length < MOST_BYTES) this.#room[this.#length++] = byte
        return 'more'
    }
  }

  wipe(): void {
    this.#room.fill(0)
    this.#length = 0
  }

  /** A character of UTF-8 is removed as a whole. */
  #removeLast(): void {
    while (this.#length > 0) {
      this.#length -= 1
      const byte = this.#room[this.#length] ?? 0
      this.#room[this.#length] = 0
      if ((byte & 0xc0) !== 0x80) return
    }
  }
}

/**
 * Asks for a passphrase on the terminal, without showing what is typed.
 * @returns undefined where there is no terminal, or nothing was typed
 */
export async function askPassphrase(label: PathText): Promise<Buffer | undefined> {
  const { stdin, stderr } = process
  if (!stdin.isTTY || !stderr.isTTY) return undefined
  const line = new HiddenLine()
  const restore = (): unknown => stdin.setRawMode(false)
  stdin.setRawMode(true)
  const forget = restoreAtEnd(restore)
  // Not before: who types at once would see it.
  stderr.write(`Passphrase for ${printable(label)}: `)
  let typed: Typed
  try {
    typed = await readLine(line)
  } finally {
    stdin.pause()
    restore()
    forget()
    stderr.write('\n')
  }
  const { bytes } = line
  line.wipe()
  // In raw mode the terminal sends no signal.
  if (typed === 'interrupted') process.kill(process.pid, 'SIGINT')
  return bytes.length === 0 ? undefined : bytes
}

function readLine(line: HiddenLine): Promise<Typed> {
  const { stdin } = process
  return new Promise((resolve) => {
    const take = (chunk: Buffer): void => {
      for (const byte of chunk) {
        const state = line.type(byte)
        if (state === 'more') continue
        stdin.off('data', take)
        resolve(state)
        break
      }
      chunk.fill(0)
    }
    stdin.on('data', take)
    stdin.once('end', () => resolve('done'))
    stdin.resume()
  })
}
