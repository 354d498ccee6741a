import { builtin } from './builtin/driver.ts'
import type { Driver, DriverName } from './driver.ts'

export type { OwnThreads } from './builtin/server.ts'
export { SharedServer } from './builtin/shared/shared-server.ts'
export { WRITER_CAPABILITIES } from './builtin/thread-privileges.ts'
export type {
  Driver,
  DriverMount,
  DriverName,
  EndReason,
  RunningServer,
  ServeOptions,
  ServerStats,
} from './driver.ts'
export type { LayerState, LayerStatus } from './layer-status.ts'

/** Loads a driver by its name. The builtin one is loaded always, because nearly every mount uses it. */
export async function driverNamed(name: DriverName): Promise<Driver> {
  switch (name) {
    case 'builtin':
      return builtin
    case 'fuse-native':
      return (await import('./fuse-native/driver.ts')).fuseNative
  }
}
