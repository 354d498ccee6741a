import { FsError, type ImageFile, type NamedSource, withSource } from '../../base/index.ts'
import { describeEncryption, type EncryptionReport } from '../../crypt/report.ts'
import { openStored } from '../images/image-window.ts'
import { lockedImages } from '../source.ts'
import { encryptionOf } from './decryption.ts'
import { gocryptfsContent } from './gocryptfs-content.ts'

/** An encrypted image, or why it cannot even be described. */
export type DescribedEncryption = EncryptionReport | { readonly label: string; readonly problem: string }

/** Describes the encrypted images of a source, without their keys. */
export function describeLocked(source: NamedSource): readonly DescribedEncryption[] {
  return lockedImages(source).flatMap((file) => describe(file) ?? [])
}

function describe(file: ImageFile): DescribedEncryption | undefined {
  try {
    return withSource(openStored(file), (image) => {
      const form = encryptionOf(image, file)
      if (form === undefined) return undefined
      return describeEncryption(
        image,
        file.encryption ?? { form },
        () => file.encryption?.config ?? gocryptfsContent(image).config,
      )
    })
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    return { label: file.label, problem: error.message }
  }
}
