import { builtin } from './builtin/driver.ts'
import type { Driver, DriverName } from './driver.ts'

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

/** The one place that chooses. Only the driver that is used is loaded, except for the builtin, which nearly every mount uses. */
export async function driverNamed(name: DriverName): Promise<Driver> {
  switch (name) {
    case 'builtin':
      return builtin
    case 'fuse-native':
      return (await import('./fuse-native/driver.ts')).fuseNative
  }
}
