export type LogLevel = 'error' | 'warn' | 'info' | 'debug'

/** Takes one message; never throws. It may contain line ends and control characters: the writer of the log escapes them. */
export type Log = (level: LogLevel, message: string) => void

/**
 * What must not reach a terminal, a table or a log as it is: control characters (line ends, escape sequences, also
 * those of C1), separators of lines and paragraphs, marks that turn the direction of text around, and lone surrogates
 * (bytes that are no UTF-8, see `PathText`).
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Text from anywhere as one line that shows what is in it; everything but the unsafe stays as it is. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (character) => SHORT[character] ?? escapeCode(character.charCodeAt(0)))
}

function escapeCode(code: number): string {
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${hex(code - 0xdc00, 2)}`
  return code < 0x80 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}
