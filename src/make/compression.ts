import { UsageError } from '../base/index.ts'
import { ENCODER_NAMES, type EncoderName, type EncoderSettings } from '../codecs/encode/index.ts'

/** Reads `zstd`, `gzip:6`, … @throws UsageError */
export function compressionOf(text: string): Pick<EncoderSettings, 'name' | 'level'> {
  const [, name = '', digits] = /^([a-z0-9]+)(?::(\d{1,3}))?$/.exec(text) ?? []
  if (!isEncoderName(name)) {
    throw new UsageError(
      `compression ${JSON.stringify(text)}: one of ${ENCODER_NAMES.join(', ')}, or NAME:LEVEL, is needed`,
    )
  }
  return digits === undefined ? { name } : { name, level: Number(digits) }
}

function isEncoderName(name: string): name is EncoderName {
  return (ENCODER_NAMES as readonly string[]).includes(name)
}
