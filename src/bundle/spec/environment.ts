import { UsageError } from '../../base/index.ts'

/** What programs find without a PATH of their image. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * The environment of a container: of its image, and above it that of the caller. Each name stands once.
 * @param image `NAME=VALUE`, as the image has them
 * @param given `NAME=VALUE`, or `NAME` for the value that the caller itself has
 * @param home of the user; used where nobody says HOME
 * @throws UsageError for a name that is none
 */
export function environmentOf(
  image: readonly string[],
  given: readonly string[],
  home: string,
  terminal: boolean,
): readonly string[] {
  const values = new Map<string, string>([['PATH', DEFAULT_PATH]])
  if (terminal) values.set('TERM', process.env['TERM'] || 'xterm')
  values.set('HOME', home)
  for (const text of image) {
    const [name, value] = split(text)
    // Go programs take such a text as it is; no program finds it.
    if (name !== '') values.set(name, value ?? '')
  }
  for (const text of given) {
    const [name, value = process.env[name]] = split(text)
    if (name === '' || text.includes('\0')) {
      throw new UsageError(
        `environment ${JSON.stringify(text)}: NAME=VALUE, or the NAME of a variable is needed`,
      )
    }
    if (value !== undefined) values.set(name, value)
  }
  return [...values].map(([name, value]) => `${name}=${value}`)
}

function split(text: string): [name: string, value: string | undefined] {
  const equals = text.indexOf('=')
  return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)]
}
