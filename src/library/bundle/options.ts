import { UsageError } from '../../base/index.ts'
import { byteLimit, parseQuantity, runConfigOf, type SpecOptions } from '../../bundle/index.ts'

/** Changes how a container is described; one that is given later counts more. */
export type RuntimeSpecOption = (options: SpecOptions) => SpecOptions

/**
 * At most so many CPUs.
 * @param limit a quantity as Kubernetes has them: `500m`, `2`
 * @throws UsageError
 */
export function withCpuLimit(limit: string): RuntimeSpecOption {
  parseQuantity('CPU limit', limit)
  return (options) => ({ ...options, cpus: limit })
}

/**
 * At most so much memory.
 * @param limit a quantity as Kubernetes has them: `64Mi`, `1G` (powers of 1000)
 * @throws UsageError
 */
export function withMemoryLimit(limit: string): RuntimeSpecOption {
  const memory = byteLimit('memory limit', limit)
  return (options) => ({ ...options, memory })
}

/** The network of this machine, with its name servers. */
export function withHostNetwork(): RuntimeSpecOption {
  return (options) => ({ ...options, network: 'host' })
}

/** Whether the container can change its root file system. */
export function withRootFs(readOnly: boolean): RuntimeSpecOption {
  return (options) => ({ ...options, readOnly })
}

/**
 * What an image configuration says of its program, in place of that of the image, or for a source that has none: `config`
 * and what stands beside it, as the OCI image specification has it (config.md).
 * @throws FsError EIO where a field has another type; UsageError for a text with a NUL
 */
export function withImageConfig(config: Readonly<Record<string, unknown>>): RuntimeSpecOption {
  const imageConfig = runConfigOf(config, 'image configuration')
  return (options) => ({ ...options, imageConfig })
}

/** The user that runs the program: `USER[:GROUP]`, by names of the image or numbers. */
export function withUser(user: string): RuntimeSpecOption {
  return (options) => ({ ...options, user })
}

/** Any of the options of `run`. */
export function withSpecOptions(given: SpecOptions): RuntimeSpecOption {
  return (options) => ({ ...options, ...given })
}

/** What options come to. @throws UsageError for what is no option */
export function specOf(options: readonly RuntimeSpecOption[]): SpecOptions {
  return options.reduce<SpecOptions>((spec, option) => {
    if (typeof option !== 'function') throw new UsageError('an option of the bundle is no function')
    return option(spec)
  }, {})
}
