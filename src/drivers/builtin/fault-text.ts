import { FsError, stackOf } from '../../base/index.ts'
import { DeviceError } from '../../fuse/index.ts'

/** What a thread says of the error that ends a mount: its reason, or the place of a fault in this program. */
export function faultText(error: unknown): string {
  if (error instanceof FsError || error instanceof DeviceError) return error.message
  return `internal error: ${stackOf(error)}`
}
