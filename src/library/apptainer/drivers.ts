import { UsageError } from '../../base/index.ts'
import type { ImageDriver } from './driver-types.ts'
import { ServerDriver } from './server-driver.ts'

/** Name of the driver that mounts through this program. */
const OWN_DRIVER = 'atomfs-fuse'

const DRIVERS = new Map<string, ImageDriver>([[OWN_DRIVER, new ServerDriver()]])

/**
 * Adds a driver under a name. `atomfs-fuse` is there.
 * @throws UsageError for an empty name, one that is taken, and no driver
 */
export function registerDriver(name: string, driver: ImageDriver): void {
  if (name === '') throw new UsageError('empty name')
  if (DRIVERS.has(name)) throw new UsageError(`${name} is already registered`)
  if (driver === undefined || driver === null) throw new UsageError('nil driver')
  DRIVERS.set(name, driver)
}

/** @returns the driver of a name; undefined where there is none */
export function getDriver(name: string): ImageDriver | undefined {
  return DRIVERS.get(name)
}
