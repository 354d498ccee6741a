import type { WriteStream } from 'node:tty'
import { restoreAtEnd } from './restore-at-end.ts'

/** Escapes of ECMA-48, and the private modes of xterm that all terminals of today know. */
const CSI = '\u001b['
const OPEN = `${CSI}?1049h${CSI}?25l${CSI}?7l`
const CLOSE = `${CSI}?7h${CSI}?25h${CSI}?1049l`
const HOME = `${CSI}H`
const END_OF_LINE_CLEARED = `${CSI}K`
const REST_CLEARED = `${CSI}J`

/**
 * Shows one text after the other in the same place: the second screen of the terminal, without a cursor. Lines are
 * written over, never cleared first, so nothing flickers. What the terminal has no room for is cut, and a last line
 * says how much. The terminal is as before when the program ends, also by a signal or for the time of a ^Z.
 */
export class Screen {
  readonly #terminal: WriteStream
  #text = ''
  #isOpen = false
  #forget: (() => void) | undefined
  readonly #stop = (): void => {
    this.#leave()
    process.kill(process.pid, 'SIGSTOP')
  }
  readonly #draw = (): void => this.#enter()

  constructor(terminal: WriteStream) {
    this.#terminal = terminal
  }

  open(): void {
    this.#forget = restoreAtEnd(() => this.#leave())
    process.on('SIGTSTP', this.#stop)
    process.on('SIGCONT', this.#draw)
    this.#terminal.on('resize', this.#draw)
    this.#enter()
  }

  show(text: string): void {
    this.#text = text
    const lines = text.trimEnd().split('\n')
    const rows = Math.max(2, this.#terminal.rows || 24)
    const shown = lines.length <= rows ? lines : lines.slice(0, rows - 1)
    if (shown !== lines) shown.push(`… ${lines.length - shown.length} more lines`)
    // The terminal is not in raw mode, and turns \n into \r\n.
    const body = shown.map((line) => `${line}${END_OF_LINE_CLEARED}`).join('\n')
    this.#terminal.write(`${HOME}${body}${REST_CLEARED}`)
  }

  close(): void {
    this.#forget?.()
    process.off('SIGTSTP', this.#stop)
    process.off('SIGCONT', this.#draw)
    this.#terminal.off('resize', this.#draw)
    this.#leave()
  }

  #enter(): void {
    if (!this.#isOpen) this.#terminal.write(OPEN)
    this.#isOpen = true
    if (this.#text !== '') this.show(this.#text)
  }

  #leave(): void {
    if (this.#isOpen) this.#terminal.write(CLOSE)
    this.#isOpen = false
  }
}
