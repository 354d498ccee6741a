/** Fields that the debug line shows in another base than ten. */
const BASES: Readonly<Record<string, (value: number) => string>> = {
  mode: octal,
  umask: octal,
  flags: octal,
  command: (value) => `0x${value.toString(16)}`,
}

function octal(value: number): string {
  return `0${value.toString(8)}`
}

/** The decoded arguments of any request, for a debug line: each field with its name. */
export function describeArguments(args: unknown): string {
  if (args === null || typeof args !== 'object') return args === undefined ? '' : describeValue('', args)
  return Object.entries(args)
    .filter(([, value]) => value !== undefined)
    .map(([field, value]) => `${field}=${describeValue(field, value)}`)
    .join(' ')
}

function describeValue(field: string, value: unknown): string {
  if (typeof value === 'number') return BASES[field]?.(value) ?? `${value}`
  if (value instanceof Uint8Array) return `${value.length} bytes`
  // A name may hold any byte, also a line end.
  if (typeof value === 'string') return JSON.stringify(value)
  if (value !== null && typeof value === 'object') return `{${describeArguments(value)}}`
  return String(value)
}
