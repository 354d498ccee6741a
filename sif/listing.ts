import type { ByteSource } from '../src/base/index.ts'
import { type ContainedObject, type ContainerListing, withSource } from '../src/base/index.ts'
import type { SifObject } from './descriptor.ts'
import { misplacement, objectTitle, readSif, type Sif } from './sif.ts'
import {
  cryptoFormatName,
  cryptoMessageName,
  fileSystemName,
  hashName,
  partName,
  sbomName,
  typeName,
} from './types.ts'

/** All that `inspect` tells of a SIF file, also of one that was cut off. @throws FsError as `readSif` */
export function listSif(file: ByteSource): ContainerListing {
  return withSource(file, (source) => {
    const sif = readSif(source)
    const { id, architecture, created, modified, launchScript, free, total } = sif.header
    return {
      kind: 'sif',
      facts: {
        version: sif.header.version,
        architecture,
        id,
        ...(created === undefined ? {} : { created }),
        ...(modified === undefined ? {} : { modified }),
        launchScript,
        free,
        total,
      },
      objects: sif.objects.map(describe),
      remarks: remarksOf(sif),
    }
  })
}

function remarksOf({ header, objects, source }: Sif): readonly string[] {
  const remarks = objects.flatMap((object) => {
    const wrong = misplacement(object, source.size)
    return wrong === undefined ? [] : [`${objectTitle(object)} ${wrong}`]
  })
  if (header.free === header.total && objects.length > 0) {
    remarks.push(`the header calls all ${header.total} records free, and ${objects.length} are in use`)
  }
  return remarks
}

function describe(object: SifObject): ContainedObject {
  const { id, type, group, link, offset, size, created, modified, name } = object
  return {
    id,
    type: typeName(type),
    ...(group === undefined ? {} : { group }),
    ...(link === undefined ? {} : { link }),
    offset,
    size,
    ...(created === undefined ? {} : { created }),
    ...(modified === undefined ? {} : { modified }),
    name,
    details: detailsOf(object),
  }
}

/** By the words of the format: the columns of a partition, a hash, a digest. */
function detailsOf({ extra }: SifObject): Readonly<Record<string, string>> {
  switch (extra.of) {
    case 'partition':
      return {
        fileSystem: fileSystemName(extra.fileSystem),
        part: partName(extra.part),
        architecture: extra.architecture,
      }
    case 'signature':
      return {
        hash: hashName(extra.hash),
        ...(extra.fingerprint === undefined ? {} : { fingerprint: extra.fingerprint }),
      }
    case 'crypto':
      return { format: cryptoFormatName(extra.format), message: cryptoMessageName(extra.message) }
    case 'sbom':
      return { format: sbomName(extra.format) }
    case 'oci':
      return { digest: extra.digest }
    default:
      return {}
  }
}
