/**
 * The text of a shell script as it stands: backslashes count, and what shells write as `$` and a brace stands as `$\{`.
 */
export function script({ raw }: TemplateStringsArray, ...values: readonly string[]): string {
  return raw.map((text, at) => text.replaceAll('$\\{', '${') + (values[at] ?? '')).join('')
}

/** One word of a shell. */
export function quoted(text: string): string {
  return /^[\w./=:,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
