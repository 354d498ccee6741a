import { type PathText, UsageError } from '../../base/index.ts'

/** A piece of an image file: a partition, or another object of a SIF. */
export interface Section {
  /** Empty for most objects of a SIF. */
  readonly name: string
  /** Bytes; what a SIF says is not compared with the size of the file. */
  readonly size: number
  /** From the start of the file, bytes. */
  readonly offset: number
  /** Number of the object; 1 in an image without objects. */
  readonly id: number
  /** Of `IMAGE_TYPE` for a partition; for other objects the data type of the SIF. */
  readonly type: number
  /** Bits of `IMAGE_USAGE`. */
  readonly allowedUsage: number
}

/** What is known of an image. */
export interface ImageFields {
  /** The root file system first, if there is one. */
  readonly partitions: readonly Section[]
  /** Objects of a SIF that are no partitions. */
  readonly sections: readonly Section[]
  /** Absolute, without symbolic links. */
  readonly path: PathText
  /** The last component of `path`. */
  readonly name: PathText
  /** `/proc/self/fd/N`: how a program that inherits the descriptor names the file. */
  readonly source: string
  /** Of `IMAGE_TYPE`. */
  readonly type: number
  /** Descriptor of the open file. */
  readonly fd: number
  /** Whether the file was opened for writing. */
  readonly writable: boolean
  /** Bits of `IMAGE_USAGE`. */
  readonly usage: number
}

type SectionJson = Omit<Section, 'allowedUsage'> & { readonly allowed_usage: number }

/** An image as Apptainer hands it from process to process. */
export interface ImageJson extends Omit<ImageFields, 'partitions' | 'sections'> {
  readonly partitions: readonly SectionJson[]
  readonly sections: readonly SectionJson[]
}

/** A file that is not open, as Go writes its number. */
const NO_FD_OF_GO = 2 ** 64 - 1

/** @throws UsageError for what is no description of an image */
export function decodeImage(json: unknown): ImageFields {
  let value = json
  try {
    if (typeof json === 'string') value = JSON.parse(json)
  } catch (error) {
    throw new UsageError(
      `the description of an image is no JSON: ${error instanceof Error ? error.message : ''}`,
    )
  }
  const fields = new Fields(value, 'the description of an image')
  const fd = fields.number('fd')
  return {
    partitions: sectionsOf(fields.value('partitions'), 'a partition'),
    sections: sectionsOf(fields.value('sections'), 'a section'),
    path: fields.text('path'),
    name: fields.text('name'),
    source: fields.text('source'),
    type: fields.number('type'),
    fd: fd >= NO_FD_OF_GO ? -1 : fd,
    writable: fields.value('writable') === true,
    usage: fields.number('usage'),
  }
}

/** Go writes a list without elements as null. */
function sectionsOf(list: unknown, what: string): readonly Section[] {
  if (list === null || list === undefined) return []
  if (!Array.isArray(list)) throw new UsageError(`${what}: expected a list of them`)
  return list.map((one: unknown) => {
    const fields = new Fields(one, what)
    return {
      name: fields.text('name'),
      size: fields.number('size'),
      offset: fields.number('offset'),
      id: fields.number('id'),
      type: fields.number('type'),
      allowedUsage: fields.number('allowed_usage'),
    }
  })
}

/** The fields of a value that anybody may have written. */
class Fields {
  readonly #fields: Readonly<Record<string, unknown>>
  readonly #what: string

  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null) throw new UsageError(`${what} is no object`)
    this.#fields = value as Record<string, unknown>
    this.#what = what
  }

  value(name: string): unknown {
    return this.#fields[name]
  }

  text(name: string): string {
    const value = this.#fields[name]
    if (typeof value === 'string' && !value.includes('\0')) return value
    throw new UsageError(`${this.#what} has no text ${name}`)
  }

  number(name: string): number {
    const value = this.#fields[name]
    if (typeof value === 'number' && Number.isInteger(value)) return value
    throw new UsageError(`${this.#what} has no number ${name}`)
  }
}
